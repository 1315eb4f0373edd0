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

    /// Returns the one value of the text.
    pub fn document(self: *Parser) json.Error!json.Value {
        while (true) {
            var value = try self.start() orelse continue;
            while (true) {
                self.space();
                if (self.depth == 0) {
                    return if (self.at == self.text.len) value else error.Malformed;
                }
                try self.attach(value);
                if (self.accept(',')) {
                    try self.expectMember();
                    break;
                }
                value = try self.close();
            }
        }
    }

    /// Reads a value that has no members, or opens one that has and returns null.
    fn start(self: *Parser) json.Error!?json.Value {
        self.space();
        return switch (self.peek()) {
            '{' => self.open(true),
            '[' => self.open(false),
            '"' => try self.string(),
            't' => try self.literal("true", .{ .boolean = true }),
            'f' => try self.literal("false", .{ .boolean = false }),
            'n' => try self.literal("null", .null),
            else => try self.number(),
        };
    }

    fn open(self: *Parser, is_object: bool) json.Error!?json.Value {
        if (self.depth == self.limit) return error.Malformed;
        self.frames[self.depth] = .{ .first = self.pending.items.len, .start = self.at, .is_object = is_object };
        self.depth += 1;
        self.at += 1;
        self.space();
        if (self.peek() == @as(u8, if (is_object) '}' else ']')) return try self.close();
        try self.expectMember();
        return null;
    }

    /// Makes room for the next member of the innermost value; in an object, reads its name.
    fn expectMember(self: *Parser) json.Error!void {
        var key: []const u8 = "";
        if (self.frames[self.depth - 1].is_object) {
            self.space();
            if (self.peek() != '"') return error.Malformed;
            key = try (try self.string()).text();
            self.space();
            if (!self.accept(':')) return error.Malformed;
        }
        try self.pending.append(.{ .key = key, .value = undefined });
    }

    fn attach(self: *Parser, value: json.Value) json.Error!void {
        self.pending.items[self.pending.items.len - 1].value = value;
    }

    fn close(self: *Parser) json.Error!json.Value {
        const frame = self.frames[self.depth - 1];
        if (!self.accept(if (frame.is_object) '}' else ']')) return error.Malformed;
        const members = self.pending.items[frame.first..];
        const data: json.Value.Data = if (frame.is_object) object: {
            const kept = try memory.copy(json.Member, members);
            if (!try index.distinct(kept)) return error.Malformed;
            break :object .{ .object = kept };
        } else array: {
            const kept = try memory.slice(json.Value, members.len);
            for (kept, members) |*to, member| to.* = member.value;
            break :array .{ .array = kept };
        };
        self.pending.shrink(frame.first);
        self.depth -= 1;
        return .{ .raw = self.text[frame.start..self.at], .data = data };
    }

    fn string(self: *Parser) json.Error!json.Value {
        const first = self.at;
        var escaped = false;
        self.at += 1;
        while (true) {
            self.at += strings.plainPrefix(self.text[self.at..]);
            switch (self.peek()) {
                '"' => break,
                '\\' => {
                    escaped = true;
                    const found = strings.escape(self.text[self.at..]) orelse return error.Malformed;
                    self.at += found.len;
                },
                0...0x1f => return error.Malformed,
                else => self.at += strings.sequence(self.text[self.at..]) orelse return error.Malformed,
            }
        }
        self.at += 1;
        const raw = self.text[first..self.at];
        return .{ .raw = raw, .data = if (escaped) .escaped else .{ .string = raw[1 .. raw.len - 1] } };
    }

    fn number(self: *Parser) json.Error!json.Value {
        const len = numbers.prefix(self.text[self.at..]) orelse return error.Malformed;
        const raw = self.text[self.at..][0..len];
        if (!numbers.inRange(raw)) return error.Malformed;
        self.at += len;
        return json.number(raw);
    }

    fn literal(self: *Parser, comptime word: []const u8, data: json.Value.Data) json.Error!json.Value {
        if (!std.mem.startsWith(u8, self.text[self.at..], word)) return error.Malformed;
        self.at += word.len;
        return .{ .raw = word, .data = data };
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
