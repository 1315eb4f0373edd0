//! Counts the lines of a file in the mission's workspace.

const std = @import("std");
const mission = @import("mission");

comptime {
    mission.exportStep(run);
}

/// The first round asks for the file; the second finds it in the journal.
fn run(step: mission.Step) mission.Error!mission.Answer {
    try step.parameters.expect(&.{ "path", "skip_empty" });
    const path = try step.parameters.requireString("path");
    const skip_empty = try step.parameters.boolean("skip_empty", false);
    const file = try step.outcome() orelse return .{ .effect = .{
        .op = "file.read",
        .args = try mission.json.object(&.{.{ .key = "path", .value = path }}),
    } };
    const content = file.get("content") orelse return notText();
    if (!content.isString()) return notText(); // a larger one comes as a reference (abi.md)
    return .{ .output = try mission.json.object(&.{
        .{ .key = "path", .value = path },
        .{ .key = "lines", .value = try mission.json.integer(lines(try content.text(), skip_empty)) },
    }) };
}

fn notText() error{Refused} {
    return mission.refuse("file.not_text", "the file is no text of at most 64 KiB");
}

/// Returns the number of lines; what follows the last end of line is one too, unless it is empty.
fn lines(text: []const u8, skip_empty: bool) i64 {
    var count: i64 = 0;
    var start: usize = 0;
    while (start < text.len) {
        const end = std.mem.indexOfScalarPos(u8, text, start, '\n') orelse text.len;
        if (end > start or !skip_empty) count += 1;
        start = end + 1;
    }
    return count;
}
