//! Reads JSON strictly: RFC 8259, valid UTF-8, no duplicate names, no lone surrogates, numbers in range, bounded depth.
//!
//! There is no recursion, so the depth of a document costs no stack.

const std = @import("std");
const json = @import("json.zig");
const index = @import("index.zig");
const memory = @import("memory.zig");
const numbers = @import("numbers.zig");
const strings = @import("strings.zig");

pub const depth_max = 128;

/// An open array or object: its members so far are `pending[first..]`.
const Frame = struct { first: usize, start: usize, is_object: bool };

pub const Parser = struct {
    text: []const u8,
    /// The next byte to read; after a refusal, where it was.
    at: usize = 0,
    depth: usize = 0,
    limit: usize = depth_max,
    frames: [depth_max]Frame = undefined,
    pending: memory.List(json.Member) = .{},
    /// The value that was read last.
    value: json.Value = json.empty,

    /// Returns the one value of the text.
    pub fn document(self: *Parser) json.Error!json.Value {
        while (true) {
            if (!try self.start()) continue;
            while (true) {
                self.space();
                if (self.depth == 0) {
                    return if (self.at == self.text.len) self.value else error.Malformed;
                }
                self.pending.items[self.pending.items.len - 1].value = self.value;
                if (self.accept(',')) {
                    try self.expectMember();
                    break;
                }
                try self.close();
            }
        }
    }

    /// Reads a value and returns true, or opens one that has members and returns false.
    fn start(self: *Parser) json.Error!bool {
        self.space();
        switch (self.peek()) {
            '{' => return self.open(true),
            '[' => return self.open(false),
            '"' => try self.string(),
            't' => try self.literal("true", .{ .boolean = true }),
            'f' => try self.literal("false", .{ .boolean = false }),
            'n' => try self.literal("null", .null),
            else => try self.number(),
        }
        return true;
    }

    fn open(self: *Parser, is_object: bool) json.Error!bool {
        if (self.depth == self.limit) return error.Malformed;
        self.frames[self.depth] = .{ .first = self.pending.items.len, .start = self.at, .is_object = is_object };
        self.depth += 1;
        self.at += 1;
        self.space();
        if (self.peek() == @as(u8, if (is_object) '}' else ']')) {
            try self.close();
            return true;
        }
        try self.expectMember();
        return false;
    }

    /// Makes room for the next member of the innermost value; in an object, reads its name.
    fn expectMember(self: *Parser) json.Error!void {
        var key: []const u8 = "";
        if (self.frames[self.depth - 1].is_object) {
            self.space();
            if (self.peek() != '"') return error.Malformed;
            try self.string();
            key = try self.value.text();
            self.space();
            if (!self.accept(':')) return error.Malformed;
        }
        const member = try self.pending.grown();
        member.key = key;
    }

    fn close(self: *Parser) json.Error!void {
        const frame = self.frames[self.depth - 1];
        if (!self.accept(if (frame.is_object) '}' else ']')) return error.Malformed;
        const members = self.pending.items[frame.first..];
        self.value.raw = self.text[frame.start..self.at];
        if (frame.is_object) {
            const kept = try memory.copy(json.Member, members);
            if (!try index.distinct(kept)) return error.Malformed;
            self.value.data = .{ .object = kept };
        } else {
            const kept = try memory.slice(json.Value, members.len);
            for (kept, members) |*to, *member| to.* = member.value;
            self.value.data = .{ .array = kept };
        }
        self.pending.shrink(frame.first);
        self.depth -= 1;
    }

    fn string(self: *Parser) json.Error!void {
        const text = self.text;
        const first = self.at;
        var escaped = false;
        var at = first + 1;
        while (at < text.len) {
            const byte = text[at];
            if (byte == '"') break;
            escaped = escaped or byte == '\\';
            const len = if (byte == '\\')
                strings.escapeLength(text[at..])
            else if (byte >= 0x80)
                strings.sequence(text[at..])
            else
                strings.plainPrefix(text[at..]);
            if (len == 0) return error.Malformed;
            at += len;
        } else return error.Malformed;
        self.at = at + 1;
        self.value.raw = text[first..self.at];
        self.value.data = if (escaped) .escaped else .{ .string = text[first + 1 .. at] };
    }

    fn number(self: *Parser) json.Error!void {
        const len = numbers.prefix(self.text[self.at..]) orelse return error.Malformed;
        const raw = self.text[self.at..][0..len];
        if (!numbers.inRange(raw)) return error.Malformed;
        self.at += len;
        self.value = json.number(raw);
    }

    fn literal(self: *Parser, comptime word: []const u8, data: json.Value.Data) json.Error!void {
        if (!std.mem.startsWith(u8, self.text[self.at..], word)) return error.Malformed;
        self.at += word.len;
        self.value = .{ .raw = word, .data = data };
    }

    fn space(self: *Parser) void {
        while (self.at < self.text.len) : (self.at += 1) {
            switch (self.text[self.at]) {
                ' ', '\t', '\n', '\r' => {},
                else => return,
            }
        }
    }

    /// Returns the next byte, or 0 at the end: a NUL is malformed wherever it stands outside a string's escape.
    fn peek(self: *const Parser) u8 {
        return if (self.at < self.text.len) self.text[self.at] else 0;
    }

    fn accept(self: *Parser, byte: u8) bool {
        if (self.peek() != byte) return false;
        self.at += 1;
        return true;
    }
};
