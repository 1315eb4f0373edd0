//! read_file: reads one file of the mission's workspace, as text or as the JSON value it holds.

const std = @import("std");
const mission = @import("mission");
const json = mission.json;

comptime {
    mission.exportStep(run);
}

fn run(step: mission.Step) mission.Error!mission.Answer {
    try step.parameters.expect(&.{ "path", "format" });
    const path = try step.parameters.requireString("path");
    const format = try step.parameters.word("format", &.{ "text", "json" });
    const outcome = try step.outcome() orelse return .{ .effect = .{
        .op = "file.read",
        .args = try json.object(&.{.{ .key = "path", .value = path }}),
    } };
    const content = if (std.mem.eql(u8, format, "json")) try parsed(outcome) else try textual(outcome);
    return .{ .output = try json.object(&.{
        .{ .key = "path", .value = try mission.member(outcome, "path") },
        .{ .key = "bytes", .value = try mission.member(outcome, "bytes") },
        .{ .key = "sha256", .value = try mission.member(outcome, "sha256") },
        content,
    }) };
}

/// The content as it is; bytes that are no UTF-8 stay base64, under that name.
fn textual(outcome: json.Value) mission.Error!json.Member {
    if (outcome.get("content_base64")) |bytes| return .{ .key = "content_base64", .value = bytes };
    return .{ .key = "content", .value = try mission.member(outcome, "content") };
}

fn parsed(outcome: json.Value) mission.Error!json.Member {
    if (outcome.get("content_base64") != null) return notJson();
    const content = try mission.member(outcome, "content");
    if (mission.blobs.isReference(content))
        return mission.refuse("read_file.too_large", "a file over 64 KiB is not read as JSON");
    if (!content.isString()) return mission.failure.malformed("journal: a content that is no string");
    const value = mission.parse.value(try content.text(), mission.parse.text_depth_max) catch |problem| switch (problem) {
        error.OutOfMemory => return error.OutOfMemory,
        error.Malformed => return notJson(),
    };
    return .{ .key = "content", .value = value };
}

fn notJson() error{Refused} {
    return mission.refuse("read_file.not_json", "the file does not hold one JSON value");
}
