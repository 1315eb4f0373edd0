//! Does what the probes of the other languages do, so that their SDKs can be compared.

const std = @import("std");
const mission = @import("mission");

const json = mission.json;

comptime {
    mission.exportStep(run);
}

fn run(step: mission.Step) mission.Error!mission.Answer {
    const given = step.parameters;
    try given.expect(&.{ "value", "text", "number", "flag", "word", "list", "parse", "fail", "nest", "wait" });
    var out: mission.memory.List(json.Member) = .{};
    if (given.get("value")) |value| try out.append(.{ .key = "value", .value = value });
    if (try given.string("text")) |text| {
        try out.append(.{ .key = "text", .value = json.string(try text.text()) });
    }
    if (try given.integer("number", std.math.minInt(i64), std.math.maxInt(i64))) |number| {
        try out.append(.{ .key = "number", .value = try json.integer(number) });
    }
    if (given.get("flag") != null) {
        try out.append(.{ .key = "flag", .value = json.boolean(try given.boolean("flag", false)) });
    }
    const word = try given.word("word", &.{ "one", "two" });
    try out.append(.{ .key = "word", .value = json.string(word) });
    if (try given.strings("list", 1, 3)) |list| try out.append(.{ .key = "list", .value = list });
    if (try given.string("parse")) |text| {
        const value = mission.parse.value(try text.text(), mission.parse.text_depth_max) catch |problem| switch (problem) {
            error.OutOfMemory => return error.OutOfMemory,
            error.Malformed => return mission.refuse("probe.not_json", "it is not JSON"),
        };
        try out.append(.{ .key = "parse", .value = value });
    }
    if (try given.string("fail")) |text| return mission.refuse("probe.failed", try text.text());
    if (try given.integer("nest", 0, 200)) |depth| {
        var value = json.empty;
        var at: i64 = 0;
        while (at < depth) : (at += 1) value = try json.array(&.{value});
        try out.append(.{ .key = "nest", .value = value });
    }
    if (try given.integer("wait", 1, 64)) |count| {
        const outcomes = try mission.memory.slice(json.Value, @intCast(count));
        const effects = try mission.memory.slice(mission.Effect, @intCast(count));
        var done: usize = 0;
        for (outcomes, effects, 0..) |*to, *effect, at| {
            const ms = try json.integer(@intCast(at));
            effect.* = .{ .op = "timer.sleep", .args = try json.object(&.{.{ .key = "ms", .value = ms }}) };
            to.* = try step.outcomeAt(at) orelse continue;
            done += 1;
        }
        if (done < outcomes.len) return .{ .effects = effects };
        try out.append(.{ .key = "wait", .value = try json.array(outcomes) });
    } else if (try step.outcome()) |outcome| try out.append(.{ .key = "outcome", .value = outcome });
    return .{ .output = try json.object(out.items) };
}
