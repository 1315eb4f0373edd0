//! Operations on arrays.

const std = @import("std");
const mission = @import("mission");
const pointers = @import("pointer.zig");
const sorting = @import("sorting.zig");
const texts = @import("texts.zig");
const Scalar = @import("scalars.zig").Scalar;
const json = mission.json;

const Fields = mission.Fields;
const Value = json.Value;
const Error = mission.Error;
const Fixed = mission.numbers.Fixed;
const refuse = mission.refuse;

/// {with}: two arrays, or two strings, one behind the other.
pub fn concat(value: Value, fields: Fields) Error!Value {
    const with = try fields.require("with");
    if (value.isString()) return texts.concat(value, with);
    const first = try arrayOf(value);
    if (with.data != .array) return mission.failure.invalid("with: an array is needed, as the value is one");
    const room = try mission.memory.slice(Value, first.len + with.data.array.len);
    @memcpy(room[0..first.len], first);
    @memcpy(room[first.len..], with.data.array);
    return .{ .data = .{ .array = room } };
}

/// The number of items, members or code points.
pub fn length(value: Value, _: Fields) Error!Value {
    const count: usize = switch (value.data) {
        .array => |items| items.len,
        .object => |members| members.len,
        .string, .escaped => texts.codePoints(try value.text()),
        else => return refuse("transform.type", "an array, an object or a string is needed"),
    };
    return json.integer(@intCast(count));
}

/// The exact sum of an array of numbers.
pub fn sum(value: Value, _: Fields) Error!Value {
    var total: Fixed = .{};
    for (try arrayOf(value)) |item| {
        if (item.data != .number) return refuse("transform.type", "numbers are needed");
        const term = Fixed.of(item.raw) orelse return inexact();
        total = total.plus(term) orelse return inexact();
    }
    return json.number(try total.text());
}

fn inexact() error{Refused} {
    return refuse("transform.number", "a term or the sum exceeds 64 bits or has more than 18 decimal places");
}

/// {pointer?, descending?}: the items in order, equal ones in their first order.
pub fn sort(value: Value, fields: Fields) Error!Value {
    const items = try arrayOf(value);
    const keys = try keysOf(items, fields);
    for (keys) |key| {
        if (std.meta.activeTag(key) != std.meta.activeTag(keys[0])) {
            return refuse("transform.type", "keys of one type are needed");
        }
    }
    const positions = try sorting.sorted(keys, try fields.boolean("descending", false));
    const room = try mission.memory.slice(Value, items.len);
    for (positions, room) |position, *to| to.* = items[position];
    return .{ .data = .{ .array = room } };
}

/// The items without repetitions, the first of each kept in its place; 1 and 1.0 are one number.
pub fn unique(value: Value, fields: Fields) Error!Value {
    const items = try arrayOf(value);
    const seen: sorting.Set = try .of(try keysOf(items, fields));
    var out: mission.memory.List(Value) = .{};
    for (items, 0..) |item, position| {
        if (seen.add(position)) try out.append(item);
    }
    return .{ .data = .{ .array = out.items } };
}

/// Returns what each item is compared by: itself, or what is at `pointer` in it.
fn keysOf(items: []const Value, fields: Fields) Error![]const Scalar {
    const tokens = try tokensOf(fields);
    const keys = try mission.memory.slice(Scalar, items.len);
    for (items, keys) |item, *key| {
        const found = try pointers.find(item, tokens) orelse return refuse("transform.not_found", "an item lacks the key");
        key.* = try Scalar.of(found) orelse return refuse("transform.type", "scalars are needed");
    }
    return keys;
}

/// {pointer, default?}: of each item, what is at the pointer.
pub fn map(value: Value, fields: Fields) Error!Value {
    _ = try fields.requireString("pointer");
    const items = try arrayOf(value);
    const tokens = try tokensOf(fields);
    const room = try mission.memory.slice(Value, items.len);
    for (items, room) |item, *to| {
        to.* = try pointers.find(item, tokens) orelse fields.get("default") orelse
            return refuse("transform.not_found", "an item lacks the field");
    }
    return .{ .data = .{ .array = room } };
}

/// {pointer?, equals}: the items that equal a scalar, or have one that does at the pointer.
pub fn filter(value: Value, fields: Fields) Error!Value {
    const items = try arrayOf(value);
    const tokens = try tokensOf(fields);
    const wanted = try Scalar.of(try fields.require("equals")) orelse
        return mission.failure.invalid("equals: a scalar is needed");
    var out: mission.memory.List(Value) = .{};
    for (items) |item| {
        const found = try pointers.find(item, tokens) orelse continue;
        const scalar = try Scalar.of(found) orelse continue;
        if (scalar.order(&wanted) == .eq) try out.append(item);
    }
    return .{ .data = .{ .array = out.items } };
}

fn tokensOf(fields: Fields) Error!pointers.Tokens {
    const pointer = try fields.string("pointer") orelse return .{ .rest = "" };
    return pointers.Tokens.of(try pointer.text());
}

fn arrayOf(value: Value) Error![]const Value {
    return if (value.data == .array) value.data.array else refuse("transform.type", "an array is needed");
}
