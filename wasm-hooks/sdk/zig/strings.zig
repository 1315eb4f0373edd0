//! JSON strings: checked, decoded and escaped, byte for byte.

const std = @import("std");
const memory = @import("memory.zig");

const ones: u64 = 0x0101_0101_0101_0101;
const highs: u64 = 0x8080_8080_8080_8080;

/// Returns how many bytes at the start of `text` stand for themselves: no quote, backslash, control or non-ASCII byte.
pub fn plainPrefix(text: []const u8) usize {
    var at: usize = 0;
    while (at + 8 <= text.len) : (at += 8) {
        const word = @as(*align(1) const u64, @ptrCast(text[at..].ptr)).*;
        const quote = word ^ (ones * '"');
        const backslash = word ^ (ones * '\\');
        // A byte below n makes (byte - n) borrow into its high bit; the first such byte is never a false alarm.
        const found = (word -% ones * 0x20) | (quote -% ones) | (backslash -% ones) | word;
        if (found & highs != 0) break;
    }
    while (at < text.len) : (at += 1) {
        const byte = text[at];
        if (byte < 0x20 or byte == '"' or byte == '\\' or byte >= 0x80) break;
    }
    return at;
}

/// Returns the length of the UTF-8 sequence at the start of `text`, or null where there is none (RFC 3629).
pub fn sequence(text: []const u8) ?usize {
    const lead = text[0];
    const len: usize = switch (lead) {
        0...0x7f => return 1,
        0xc2...0xdf => 2,
        0xe0...0xef => 3,
        0xf0...0xf4 => 4,
        else => return null,
    };
    if (len > text.len) return null;
    const second: [2]u8 = switch (lead) {
        0xe0 => .{ 0xa0, 0xbf },
        0xed => .{ 0x80, 0x9f },
        0xf0 => .{ 0x90, 0xbf },
        0xf4 => .{ 0x80, 0x8f },
        else => .{ 0x80, 0xbf },
    };
    if (text[1] < second[0] or text[1] > second[1]) return null;
    for (text[2..len]) |byte| {
        if (byte & 0xc0 != 0x80) return null;
    }
    return len;
}

/// One escape sequence: how long it is, and which code point it names.
pub const Escape = struct { len: usize, point: u21 };

/// Returns the escape at the start of `text`, or null where it is malformed; a lone surrogate is.
pub fn escape(text: []const u8) ?Escape {
    if (text.len < 2) return null;
    const point: u21 = switch (text[1]) {
        '"', '\\', '/' => text[1],
        'b' => 0x08,
        'f' => 0x0c,
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return unicodeEscape(text),
        else => return null,
    };
    return .{ .len = 2, .point = point };
}

fn unicodeEscape(text: []const u8) ?Escape {
    const first = unit(text) orelse return null;
    if (first < 0xd800 or first > 0xdfff) return .{ .len = 6, .point = first };
    if (first > 0xdbff) return null;
    const second = unit(text[6..]) orelse return null;
    if (second < 0xdc00 or second > 0xdfff) return null;
    return .{ .len = 12, .point = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00) };
}

fn unit(text: []const u8) ?u21 {
    if (text.len < 6 or text[0] != '\\' or text[1] != 'u') return null;
    var value: u21 = 0;
    for (text[2..6]) |byte| {
        const digit: u21 = switch (byte) {
            '0'...'9' => byte - '0',
            'a'...'f' => byte - 'a' + 10,
            'A'...'F' => byte - 'A' + 10,
            else => return null,
        };
        value = value << 4 | digit;
    }
    return value;
}

/// Returns the text that `escaped`, the inside of a well-formed JSON string, stands for.
pub fn decode(escaped: []const u8) memory.Error![]const u8 {
    const out = try memory.bytes(escaped.len);
    var from: usize = 0;
    var to: usize = 0;
    while (from < escaped.len) {
        const run = std.mem.findScalar(u8, escaped[from..], '\\') orelse escaped.len - from;
        @memcpy(out[to..][0..run], escaped[from..][0..run]);
        from += run;
        to += run;
        if (from == escaped.len) break;
        const found = escape(escaped[from..]) orelse break;
        to += encode(found.point, out[to..]);
        from += found.len;
    }
    return out[0..to];
}

/// Writes a code point as UTF-8; an escape is never shorter than what it stands for, so there is room.
fn encode(point: u21, out: []u8) usize {
    if (point < 0x80) {
        out[0] = @intCast(point);
        return 1;
    }
    const len: usize = if (point < 0x800) 2 else if (point < 0x1_0000) 3 else 4;
    var rest = point;
    var at = len - 1;
    while (at > 0) : (at -= 1) {
        out[at] = 0x80 | @as(u8, @intCast(rest & 0x3f));
        rest >>= 6;
    }
    const marks = [_]u8{ 0, 0, 0xc0, 0xe0, 0xf0 };
    out[0] = marks[len] | @as(u8, @intCast(rest));
    return len;
}
