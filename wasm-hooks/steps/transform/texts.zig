//! Operations on strings.

const std = @import("std");
const mission = @import("mission");
const json = mission.json;

const Fields = mission.Fields;
const Value = json.Value;
const Error = mission.Error;

const white_space = " \t\n\r\x0b\x0c";

pub fn concat(value: Value, with: Value) Error!Value {
    if (!with.isString()) return mission.failure.invalid("with: a string is needed, as the value is one");
    return joined(&.{ try value.text(), try with.text() }, "");
}

/// {separator}: the strings, numbers and booleans of an array as one string.
pub fn join(value: Value, fields: Fields) Error!Value {
    if (value.data != .array) return mission.refuse("transform.type", "an array is needed");
    const separator = try (try fields.requireString("separator")).text();
    const parts = try mission.memory.slice([]const u8, value.data.array.len);
    for (value.data.array, parts) |item, *part| {
        part.* = switch (item.data) {
            .string, .escaped => try item.text(),
            .number, .boolean => try plain(item),
            else => return mission.refuse("transform.type", "strings, numbers and booleans are needed"),
        };
    }
    return joined(parts, separator);
}

fn joined(parts: []const []const u8, separator: []const u8) Error!Value {
    var len: u64 = 0;
    for (parts, 0..) |part, at| len += part.len + if (at > 0) separator.len else 0;
    if (len > 0x7fff_ffff) return error.OutOfMemory;
    const out = try mission.memory.bytes(@intCast(len));
    var to: usize = 0;
    for (parts, 0..) |part, at| {
        if (at > 0) {
            @memcpy(out[to..][0..separator.len], separator);
            to += separator.len;
        }
        @memcpy(out[to..][0..part.len], part);
        to += part.len;
    }
    return json.string(out);
}

/// {separator}: the parts of a string between separators, empty ones kept.
pub fn split(value: Value, fields: Fields) Error!Value {
    const separator = try (try fields.requireString("separator")).text();
    if (separator.len == 0) return mission.failure.invalid("separator: it may not be empty");
    var rest = try textOf(value);
    var out: mission.memory.List(Value) = .{};
    while (std.mem.find(u8, rest, separator)) |at| {
        try out.append(json.string(rest[0..at]));
        rest = rest[at + separator.len ..];
    }
    try out.append(json.string(rest));
    return .{ .data = .{ .array = out.items } };
}

/// The string with the ASCII letters in upper case, all else unchanged.
pub fn upper(value: Value, _: Fields) Error!Value {
    return mapped(value, std.ascii.toUpper);
}

/// The string with the ASCII letters in lower case, all else unchanged.
pub fn lower(value: Value, _: Fields) Error!Value {
    return mapped(value, std.ascii.toLower);
}

fn mapped(value: Value, comptime change: fn (u8) u8) Error!Value {
    const text = try textOf(value);
    const out = try mission.memory.bytes(text.len);
    for (text, out) |byte, *to| to.* = change(byte);
    return json.string(out);
}

/// The string without ASCII white space at its ends.
pub fn trim(value: Value, _: Fields) Error!Value {
    return json.string(std.mem.trim(u8, try textOf(value), white_space));
}

/// A string as it is, anything else as its JSON text.
pub fn toString(value: Value, _: Fields) Error!Value {
    return if (value.isString()) value else json.string(try plain(value));
}

/// The value whose JSON text a string is.
pub fn parseJson(value: Value, _: Fields) Error!Value {
    return mission.parse.value(try textOf(value), mission.parse.text_depth_max) catch |problem| switch (problem) {
        error.OutOfMemory => error.OutOfMemory,
        error.Malformed => mission.refuse("transform.json", "the string is not JSON"),
    };
}

pub fn codePoints(text: []const u8) usize {
    var count: usize = 0;
    for (text) |byte| count += @intFromBool(byte & 0xc0 != 0x80);
    return count;
}

fn plain(value: Value) Error![]const u8 {
    return mission.write.text(value) catch |problem| switch (problem) {
        error.OutOfMemory => error.OutOfMemory,
        error.TooDeep => mission.refuse("output.too_deep", "the value is nested too deeply"),
    };
}

fn textOf(value: Value) Error![]const u8 {
    return if (value.isString()) value.text() else mission.refuse("transform.type", "a string is needed");
}
