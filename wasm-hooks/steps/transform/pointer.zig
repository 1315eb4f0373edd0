//! JSON Pointer (RFC 6901): where an operation looks.

const std = @import("std");
const mission = @import("mission");
const json = mission.json;

const Value = json.Value;
const invalid = mission.failure.invalid;

/// The reference tokens of a pointer, still escaped.
pub const Tokens = struct {
    rest: []const u8,

    /// Returns the tokens of a pointer: empty for the whole value, else starting with a slash.
    pub fn of(pointer: []const u8) mission.Error!Tokens {
        if (pointer.len > 0 and pointer[0] != '/') return invalid("pointer: it starts with / or is empty");
        var at: usize = 0;
        while (at < pointer.len) : (at += 1) {
            if (pointer[at] != '~') continue;
            const digit: u8 = if (at + 1 < pointer.len) pointer[at + 1] else 0;
            if (digit != '0' and digit != '1') return invalid("pointer: ~ is written ~0");
        }
        return .{ .rest = pointer };
    }

    pub fn next(self: *Tokens) mission.Error!?[]const u8 {
        if (self.rest.len == 0) return null;
        const len = std.mem.findScalar(u8, self.rest[1..], '/') orelse self.rest.len - 1;
        defer self.rest = self.rest[1 + len ..];
        return try unescaped(self.rest[1..][0..len]);
    }
};

fn unescaped(token: []const u8) mission.Error![]const u8 {
    if (std.mem.findScalar(u8, token, '~') == null) return token;
    const out = try mission.memory.bytes(token.len);
    var from: usize = 0;
    var to: usize = 0;
    while (from < token.len) : (to += 1) {
        if (token[from] == '~') {
            out[to] = if (token[from + 1] == '0') '~' else '/';
            from += 2;
        } else {
            out[to] = token[from];
            from += 1;
        }
    }
    return out[0..to];
}

/// Returns the value at the pointer, or null where there is none.
pub fn find(root: Value, tokens: Tokens) mission.Error!?Value {
    var rest = tokens;
    var value = root;
    while (try rest.next()) |token| {
        value = switch (value.data) {
            .object => value.get(token) orelse return null,
            .array => |items| items[position(token, items.len) orelse return null],
            else => return null,
        };
    }
    return value;
}

/// Returns the position that a token names in an array of `len` items: digits without a leading zero.
pub fn position(token: []const u8, len: usize) ?usize {
    if (token.len == 0 or token.len > 9 or (token.len > 1 and token[0] == '0')) return null;
    var at: usize = 0;
    for (token) |byte| {
        if (byte < '0' or byte > '9') return null;
        at = at * 10 + (byte - '0');
    }
    return if (at < len) at else null;
}
