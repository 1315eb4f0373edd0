//! Reads JSON strictly: RFC 8259, valid UTF-8, no duplicate names, no lone surrogates, numbers in range, bounded depth.
//!
//! There is no recursion, so the depth of a document costs no stack.

const std = @import("std");
const json = @import("json.zig");
const index = @import("index.zig");
const memory = @import("memory.zig");
const numbers = @import("numbers.zig");
const strings = @import("strings.zig");

/// Nesting of an input document: parameters and journal hold whole values, each nested up to `text_depth_max`.
pub const document_depth_max = 128;

/// Nesting of JSON that arrives as text in a string; the engine accepts no more in a document.
pub const text_depth_max = 64;

/// Returns the one value of the text, nested at most `depth_max` deep.
pub fn value(text: []const u8, comptime depth_max: usize) json.Error!json.Value {
    var frames: [depth_max]Frame = undefined;
    var parser: Parser = .{ .text = text, .frames = &frames };
    return parser.run();
}

/// An open array or object: its members so far are `pending[first..]`.
const Frame = struct { first: usize, start: usize, closer: u8 };

const Parser = struct {
    text: []const u8,
    frames: []Frame,
    depth: usize = 0,
    /// The members of all open values, outermost first; the last one waits for the value that is read next.
    pending: memory.List(json.Member) = .{},

    fn run(self: *Parser) json.Error!json.Value {
        const text = self.text;
        _ = try self.pending.grown();
        var at = space(text, 0);
        while (true) {
            const first = byteAt(text, at);
            if (first == '{' or first == '[') {
                const closer = try self.open(at, first);
                at = space(text, at + 1);
                if (byteAt(text, at) != closer) {
                    at = try self.member(at);
                    continue;
                }
                try self.close(at);
                at += 1;
            } else at = try self.scalar(at, first);
            while (true) { // a value ended before `at`
                at = space(text, at);
                if (self.depth == 0) return if (at == text.len) self.pending.items[0].value else error.Malformed;
                const byte = byteAt(text, at);
                if (byte == ',') {
                    at = try self.member(space(text, at + 1));
                    break;
                }
                if (byte != self.frames[self.depth - 1].closer) return error.Malformed;
                try self.close(at);
                at += 1;
            }
        }
    }

    fn waiting(self: *Parser) *json.Value {
        return &self.pending.items[self.pending.items.len - 1].value;
    }

    /// Opens the value whose first byte is at `at`, and returns the byte that closes it.
    fn open(self: *Parser, at: usize, first: u8) json.Error!u8 {
        if (self.depth == self.frames.len) return error.Malformed;
        const closer = first + 2; // ASCII: [ \ ] and { | }
        self.frames[self.depth] = .{ .first = self.pending.items.len, .start = at, .closer = closer };
        self.depth += 1;
        return closer;
    }

    /// Makes room for a member of the innermost value; in an object, reads its name. Returns where its value starts.
    fn member(self: *Parser, start: usize) json.Error!usize {
        const slot = try self.pending.grown();
        if (self.frames[self.depth - 1].closer == ']') return start;
        if (byteAt(self.text, start) != '"') return error.Malformed;
        var name: json.Value = undefined;
        const at = space(self.text, try self.string(start, &name));
        slot.key = if (name.data == .string) name.data.string else try name.text();
        if (byteAt(self.text, at) != ':') return error.Malformed;
        return space(self.text, at + 1);
    }

    /// Closes the innermost value, whose last byte is at `at`.
    fn close(self: *Parser, at: usize) json.Error!void {
        const frame = self.frames[self.depth - 1];
        self.depth -= 1;
        const members = self.pending.items[frame.first..];
        self.pending.shrink(frame.first);
        const closed = self.waiting();
        closed.raw = self.text[frame.start .. at + 1];
        if (frame.closer == '}') {
            const kept = try memory.copy(json.Member, members);
            if (!try index.distinct(kept)) return error.Malformed;
            closed.data = .{ .object = kept };
        } else {
            const kept = try memory.slice(json.Value, members.len);
            for (kept, members) |*to, *from| to.* = from.value;
            closed.data = .{ .array = kept };
        }
    }

    /// Reads a value without members, and returns where it ends.
    fn scalar(self: *Parser, at: usize, first: u8) json.Error!usize {
        const slot = self.waiting();
        switch (first) {
            '"' => return self.string(at, slot),
            't' => return self.literal(at, "true", .{ .boolean = true }),
            'f' => return self.literal(at, "false", .{ .boolean = false }),
            'n' => return self.literal(at, "null", .null),
            else => {
                const len = numbers.acceptable(self.text[at..]) orelse return error.Malformed;
                slot.* = json.number(self.text[at..][0..len]);
                return at + len;
            },
        }
    }

    fn string(self: *Parser, start: usize, slot: *json.Value) json.Error!usize {
        const text = self.text;
        var escaped = false;
        var at = start + 1;
        while (at < text.len) {
            const byte = text[at];
            if (byte == '"') {
                slot.raw = text[start .. at + 1];
                slot.data = if (escaped) .escaped else .{ .string = text[start + 1 .. at] };
                return at + 1;
            }
            escaped = escaped or byte == '\\';
            const len = if (byte == '\\')
                strings.escapeLength(text[at..])
            else if (byte >= 0x80)
                strings.sequence(text[at..])
            else
                strings.plainPrefix(text[at..]);
            if (len == 0) return error.Malformed;
            at += len;
        }
        return error.Malformed;
    }

    fn literal(self: *Parser, at: usize, comptime word: []const u8, data: json.Value.Data) json.Error!usize {
        if (!std.mem.startsWith(u8, self.text[at..], word)) return error.Malformed;
        self.waiting().* = .{ .raw = word, .data = data };
        return at + word.len;
    }
};

fn space(text: []const u8, start: usize) usize {
    var at = start;
    while (at < text.len and text[at] <= ' ') : (at += 1) {
        switch (text[at]) {
            ' ', '\t', '\n', '\r' => {},
            else => break,
        }
    }
    return at;
}

/// Returns the byte at `at`, or NUL at the end: outside of strings a NUL is malformed wherever it stands.
fn byteAt(text: []const u8, at: usize) u8 {
    return if (at < text.len) text[at] else 0;
}
