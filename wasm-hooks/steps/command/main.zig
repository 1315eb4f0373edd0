//! command: one program in the mission's workspace. An exit status that is not 0 fails the step unless it is told not to.

const std = @import("std");
const mission = @import("mission");
const json = mission.json;

const argv_max = 64;
const timeout_ms_max = 55_000;
const output_bytes_max = 65_536;
const passed_on = [_][]const u8{ "stdin", "stdin_base64", "timeout_ms", "output_bytes_max" };
/// How a run may end, other than by itself; each is the code of a failure.
const limits = [_][]const u8{ "cpu", "disk", "memory", "processes", "signalled", "timeout" };

comptime {
    mission.exportStep(run);
}

fn run(step: mission.Step) mission.Error!mission.Answer {
    const fields = step.parameters;
    try fields.expect(&(.{ "argv", "fail_on_exit" } ++ passed_on));
    const args = try arguments(fields);
    const fails = try fields.boolean("fail_on_exit", true);
    const outcome = try step.outcome() orelse
        return .{ .effect = .{ .op = "command.run", .args = args } };
    const ended = try mission.member(outcome, "ended");
    if (!ended.isString()) return mission.failure.malformed("journal: an end that is no string");
    const how = try ended.text();
    if (!std.mem.eql(u8, how, "exited")) return stopped(how);
    const exit_code = try mission.member(outcome, "exit_code");
    if (exit_code.data != .number) return mission.failure.malformed("journal: an exit status that is no number");
    if (fails and (mission.numbers.whole(exit_code.raw) orelse 1) != 0) return failed(exit_code);
    return .{ .output = try json.object(&.{
        .{ .key = "exit_code", .value = exit_code },
        try stream(outcome, "stdout"),
        try stream(outcome, "stderr"),
        .{ .key = "truncated", .value = try mission.member(outcome, "truncated") },
        .{ .key = "duration_ms", .value = try mission.member(outcome, "duration_ms") },
    }) };
}

fn arguments(fields: mission.Fields) mission.Error!json.Value {
    const argv = try fields.strings("argv", 1, argv_max) orelse return mission.failure.invalid("argv: missing");
    const text = try fields.string("stdin");
    const bytes = try fields.string("stdin_base64");
    if (text != null and bytes != null) return mission.failure.invalid("stdin and stdin_base64 exclude each other");
    _ = try fields.integer("timeout_ms", 1, timeout_ms_max);
    _ = try fields.integer("output_bytes_max", 1, output_bytes_max);
    var members: mission.memory.List(json.Member) = .{};
    try members.append(.{ .key = "argv", .value = argv });
    inline for (passed_on) |name| {
        if (fields.get(name)) |value| try members.append(.{ .key = name, .value = value });
    }
    return json.object(members.items);
}

/// The bytes of a stream as they are: text, or base64 where they are none.
fn stream(outcome: json.Value, comptime name: []const u8) mission.Error!json.Member {
    if (outcome.get(name ++ "_base64")) |bytes| return .{ .key = name ++ "_base64", .value = bytes };
    return .{ .key = name, .value = try mission.member(outcome, name) };
}

fn failed(exit_code: json.Value) mission.Error {
    mission.refuse("command.exit", exit_code.raw) catch {};
    try mission.failure.within("the command ended with the exit status ");
    return error.Refused;
}

fn stopped(how: []const u8) mission.Error {
    inline for (limits) |limit| {
        if (std.mem.eql(u8, how, limit)) {
            return mission.refuse("command." ++ limit, comptime if (std.mem.eql(u8, limit, "signalled"))
                "the command was ended by a signal"
            else
                "the command was ended at its limit: " ++ limit);
        }
    }
    return mission.failure.malformed("journal: an end that is not known");
}
