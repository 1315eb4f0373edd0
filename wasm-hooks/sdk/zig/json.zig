//! JSON as values that keep their own text, so that what is only moved is never rewritten.
//!
//! A value that was read holds the exact bytes it was read from, and is written by copying them: a number keeps all
//! its digits, a string its every byte. Only values that a step makes are serialised. Source: RFC 8259.

const std = @import("std");
const memory = @import("memory.zig");
const strings = @import("strings.zig");

pub const Error = memory.Error || error{Malformed};

pub const Member = struct { key: []const u8, value: Value };

pub const Value = struct {
    /// The text that this value was read from; empty where a step made the value.
    raw: []const u8 = "",
    data: Data,

    pub const Data = union(enum) {
        null,
        boolean: bool,
        /// Numbers live in `raw` only.
        number,
        /// Decoded text.
        string: []const u8,
        /// A string whose text is still to be decoded from `raw`.
        escaped,
        array: []const Value,
        object: []const Member,
    };

    pub fn isString(self: Value) bool {
        return self.data == .string or self.data == .escaped;
    }

    /// Returns a string's text; the value must be a string.
    pub fn text(self: Value) memory.Error![]const u8 {
        return switch (self.data) {
            .string => |decoded| decoded,
            else => strings.decode(self.raw[1 .. self.raw.len - 1]),
        };
    }

    /// Returns the member of that name, or null; also where the value is no object.
    pub fn get(self: Value, key: []const u8) ?Value {
        if (self.data != .object) return null;
        for (self.data.object) |member| {
            if (std.mem.eql(u8, member.key, key)) return member.value;
        }
        return null;
    }
};

pub const empty: Value = .{ .data = .{ .object = &.{} } };

pub fn string(text: []const u8) Value {
    return .{ .data = .{ .string = text } };
}

/// Returns a number from its JSON text.
pub fn number(text: []const u8) Value {
    return .{ .raw = text, .data = .number };
}

pub fn boolean(value: bool) Value {
    return .{ .data = .{ .boolean = value } };
}

/// Returns a number from an integer.
pub fn integer(value: i64) memory.Error!Value {
    var digits: [20]u8 = undefined;
    var at: usize = digits.len;
    var rest: u64 = @abs(value);
    while (true) {
        at -= 1;
        digits[at] = '0' + @as(u8, @intCast(rest % 10));
        rest /= 10;
        if (rest == 0) break;
    }
    if (value < 0) {
        at -= 1;
        digits[at] = '-';
    }
    return number(try memory.copy(u8, digits[at..]));
}

/// Returns an array of a copy of `items`.
pub fn array(items: []const Value) memory.Error!Value {
    return .{ .data = .{ .array = try memory.copy(Value, items) } };
}

/// Returns an object of a copy of `members`, whose names must differ.
pub fn object(members: []const Member) memory.Error!Value {
    return .{ .data = .{ .object = try memory.copy(Member, members) } };
}
