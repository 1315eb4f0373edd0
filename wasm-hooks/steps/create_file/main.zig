//! create_file: writes one text file in the mission's workspace.

const mission = @import("mission");
const json = mission.json;

comptime {
    mission.exportStep(run);
}

fn run(step: mission.Step) mission.Error!mission.Answer {
    try step.parameters.expect(&.{ "path", "content", "mode" });
    const path = try step.parameters.requireString("path");
    const given = step.parameters.get("content");
    const content = if (given != null and mission.blobs.isReference(given.?))
        given.?
    else
        try step.parameters.requireString("content");
    const mode = try step.parameters.word("mode", &.{ "create", "replace" });
    const outcome = try step.outcome() orelse return .{ .effect = .{
        .op = "file.write",
        .args = try json.object(&.{
            .{ .key = "path", .value = path },
            .{ .key = "content", .value = content },
            .{ .key = "mode", .value = json.string(mode) },
        }),
    } };
    return .{ .output = try mission.pick(outcome, &.{ "path", "bytes", "sha256" }) };
}
