//! Writes JSON: values that were read as the bytes they were read from, values that were made by serialising them.

const std = @import("std");
const json = @import("json.zig");
const memory = @import("memory.zig");
const strings = @import("strings.zig");

/// A made value nested deeper is refused; the host accepts no more either.
pub const depth_max = 128;

pub const Error = memory.Error || error{TooDeep};

/// Returns a value's JSON text.
pub fn text(value: json.Value) Error![]const u8 {
    if (value.raw.len > 0) return value.raw;
    var writer: Writer = .{ .room = try memory.bytes(256) };
    try writer.write(value, 0);
    return writer.room[0..writer.len];
}

const Writer = struct {
    room: []u8,
    len: usize = 0,

    fn write(self: *Writer, value: json.Value, depth: usize) Error!void {
        if (value.raw.len > 0) return self.bytes(value.raw);
        if (depth == depth_max) return error.TooDeep;
        switch (value.data) {
            .null, .number, .escaped => try self.bytes("null"), // numbers and escaped strings always have raw text
            .boolean => |is| try self.bytes(if (is) "true" else "false"),
            .string => |plain| try self.string(plain),
            .array => |items| {
                try self.bytes("[");
                for (items, 0..) |item, at| {
                    if (at > 0) try self.bytes(",");
                    try self.write(item, depth + 1);
                }
                try self.bytes("]");
            },
            .object => |members| {
                try self.bytes("{");
                for (members, 0..) |member, at| {
                    if (at > 0) try self.bytes(",");
                    try self.string(member.key);
                    try self.bytes(":");
                    try self.write(member.value, depth + 1);
                }
                try self.bytes("}");
            },
        }
    }

    fn string(self: *Writer, plain: []const u8) Error!void {
        try self.bytes("\"");
        var rest = plain;
        while (rest.len > 0) {
            const run = strings.plainPrefix(rest);
            try self.bytes(rest[0..run]);
            if (run == rest.len) break;
            try self.byte(rest[run]);
            rest = rest[run + 1 ..];
        }
        try self.bytes("\"");
    }

    /// Writes one byte of a string that `plainPrefix` stopped at.
    fn byte(self: *Writer, value: u8) Error!void {
        switch (value) {
            '"' => try self.bytes("\\\""),
            '\\' => try self.bytes("\\\\"),
            '\n' => try self.bytes("\\n"),
            '\r' => try self.bytes("\\r"),
            '\t' => try self.bytes("\\t"),
            0...0x08, 0x0b, 0x0c, 0x0e...0x1f => {
                const hex = "0123456789abcdef";
                try self.bytes(&.{ '\\', 'u', '0', '0', hex[value >> 4], hex[value & 15] });
            },
            else => try self.bytes(&.{value}),
        }
    }

    fn bytes(self: *Writer, more: []const u8) Error!void {
        const wanted = self.len + more.len;
        if (wanted > self.room.len) self.room = try memory.extended(self.room, @max(2 * self.room.len, wanted));
        @memcpy(self.room[self.len..][0..more.len], more);
        self.len = wanted;
    }
};
