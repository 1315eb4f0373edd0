//! mission: runs another mission, and waits for its end without holding a worker.

const sdk = @import("mission");
const json = sdk.json;

const outputs_max = 64;

comptime {
    sdk.exportStep(run);
}

fn run(step: sdk.Step) sdk.Error!sdk.Answer {
    try step.parameters.expect(&.{ "mission", "outputs" });
    const nested = try step.parameters.require("mission");
    if (nested.data != .object) return sdk.failure.invalid("mission: an object is needed");
    const outputs = try step.parameters.strings("outputs", 0, outputs_max);
    const outcome = try step.outcome() orelse return .{ .effect = .{
        .op = "mission.run",
        .args = try arguments(nested, outputs),
    } };
    return .{ .output = try sdk.pick(outcome, &.{ "mission_id", "status", "outputs" }) };
}

fn arguments(nested: json.Value, outputs: ?json.Value) sdk.Error!json.Value {
    const given = [_]json.Member{
        .{ .key = "mission", .value = nested },
        .{ .key = "outputs", .value = outputs orelse json.empty },
    };
    return json.object(given[0..if (outputs == null) 1 else 2]);
}
