//! delay: waits, without holding a worker.

const mission = @import("mission");
const json = mission.json;

const ms_max = 60_000;

comptime {
    mission.exportStep(run);
}

fn run(step: mission.Step) mission.Error!mission.Answer {
    try step.parameters.expect(&.{"ms"});
    const ms = try step.parameters.integer("ms", 0, ms_max) orelse return mission.failure.invalid("ms: missing");
    const outcome = try step.outcome() orelse return .{ .effect = .{
        .op = "timer.sleep",
        .args = try json.object(&.{.{ .key = "ms", .value = try json.integer(ms) }}),
    } };
    return .{ .output = try mission.pick(outcome, &.{"slept_ms"}) };
}
