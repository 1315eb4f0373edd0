//! approval: asks people, and waits for their answer without holding a worker.

const mission = @import("mission");
const json = mission.json;

const approvers_max = 16;
const seconds_max = 30 * 24 * 60 * 60;

comptime {
    mission.exportStep(run);
}

fn run(step: mission.Step) mission.Error!mission.Answer {
    try step.parameters.expect(&.{ "message", "approvers", "expires_in_seconds" });
    const message = try step.parameters.requireString("message");
    const approvers = try step.parameters.strings("approvers", 1, approvers_max);
    const seconds = try step.parameters.integer("expires_in_seconds", 1, seconds_max);
    const outcome = try step.outcome() orelse return .{ .effect = .{
        .op = "approval.request",
        .args = try arguments(message, approvers, seconds),
    } };
    return .{ .output = try mission.pick(outcome, &.{ "approved", "approval_id", "by", "comment", "decided_at" }) };
}

/// Only what was given is passed on: the defaults are the host's, and policy sees them.
fn arguments(message: json.Value, approvers: ?json.Value, seconds: ?i64) mission.Error!json.Value {
    var members: [3]json.Member = undefined;
    members[0] = .{ .key = "message", .value = message };
    var len: usize = 1;
    if (approvers) |roles| {
        members[len] = .{ .key = "approvers", .value = roles };
        len += 1;
    }
    if (seconds) |most| {
        members[len] = .{ .key = "expires_in_seconds", .value = try json.integer(most) };
        len += 1;
    }
    return json.object(members[0..len]);
}
