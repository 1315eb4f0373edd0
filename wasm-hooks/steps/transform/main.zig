//! transform: a pure step that applies named operations to a JSON value, one after the other.

const std = @import("std");
const mission = @import("mission");
const lists = @import("lists.zig");
const objects = @import("objects.zig");
const texts = @import("texts.zig");

const Fields = mission.Fields;
const Value = mission.json.Value;
const invalid = mission.failure.invalid;

const operations_max = 64;

const Operation = struct {
    name: []const u8,
    fields: []const []const u8,
    apply: fn (Value, Fields) mission.Error!Value,
};

const table = [_]Operation{
    .{ .name = "get", .fields = &.{ "op", "pointer", "default" }, .apply = objects.get },
    .{ .name = "set", .fields = &.{ "op", "pointer", "value" }, .apply = objects.set },
    .{ .name = "pick", .fields = &.{ "op", "keys" }, .apply = objects.pick },
    .{ .name = "remove", .fields = &.{ "op", "keys" }, .apply = objects.remove },
    .{ .name = "rename", .fields = &.{ "op", "from", "to" }, .apply = objects.rename },
    .{ .name = "merge", .fields = &.{ "op", "with" }, .apply = objects.merge },
    .{ .name = "default", .fields = &.{ "op", "value" }, .apply = objects.default },
    .{ .name = "concat", .fields = &.{ "op", "with" }, .apply = lists.concat },
    .{ .name = "length", .fields = &.{"op"}, .apply = lists.length },
    .{ .name = "sum", .fields = &.{"op"}, .apply = lists.sum },
    .{ .name = "sort", .fields = &.{ "op", "pointer", "descending" }, .apply = lists.sort },
    .{ .name = "unique", .fields = &.{"op"}, .apply = lists.unique },
    .{ .name = "map", .fields = &.{ "op", "pointer", "default" }, .apply = lists.map },
    .{ .name = "filter", .fields = &.{ "op", "pointer", "equals" }, .apply = lists.filter },
    .{ .name = "join", .fields = &.{ "op", "separator" }, .apply = texts.join },
    .{ .name = "split", .fields = &.{ "op", "separator" }, .apply = texts.split },
    .{ .name = "upper", .fields = &.{"op"}, .apply = texts.upper },
    .{ .name = "lower", .fields = &.{"op"}, .apply = texts.lower },
    .{ .name = "trim", .fields = &.{"op"}, .apply = texts.trim },
    .{ .name = "to_string", .fields = &.{"op"}, .apply = texts.toString },
    .{ .name = "parse_json", .fields = &.{"op"}, .apply = texts.parseJson },
};

comptime {
    mission.exportStep(run);
}

fn run(step: mission.Step) mission.Error!mission.Answer {
    try step.parameters.expect(&.{ "input", "operations" });
    var value = step.parameters.get("input") orelse mission.json.empty;
    if (step.parameters.get("operations")) |operations| {
        if (operations.data != .array) return invalid("operations: an array is needed");
        if (operations.data.array.len > operations_max) return invalid("operations: at most 64");
        for (operations.data.array, 0..) |operation, at| {
            value = apply(value, operation) catch |problem| {
                if (problem == error.Refused) try explain(at);
                return problem;
            };
        }
    }
    return .{ .output = value };
}

fn apply(value: Value, operation: Value) mission.Error!Value {
    if (operation.data != .object) return invalid("an object is needed");
    const fields: Fields = .{ .members = operation.data.object };
    const name = try (try fields.requireString("op")).text();
    inline for (table) |known| {
        if (std.mem.eql(u8, known.name, name)) {
            return attempt(known, value, fields) catch |problem| {
                if (problem == error.Refused) try mission.failure.within(known.name ++ ": ");
                return problem;
            };
        }
    }
    return invalid("op: no such operation");
}

fn attempt(comptime operation: Operation, value: Value, fields: Fields) mission.Error!Value {
    try fields.expect(operation.fields);
    return operation.apply(value, fields);
}

/// Says which operation was refused.
fn explain(at: usize) mission.Error!void {
    try mission.failure.within("]: ");
    try mission.failure.within((try mission.json.integer(@intCast(at))).raw);
    try mission.failure.within("operations[");
}
