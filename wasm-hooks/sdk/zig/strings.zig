//! JSON strings: checked, decoded and escaped, byte for byte.

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

/// Returns the length of the UTF-8 sequence at the start of `text`, whose first byte is no ASCII, or 0 where there is
/// none (RFC 3629, 4).
pub fn sequence(text: []const u8) usize {
    const lead = text[0];
    if (text.len < 2) return 0;
    const second = text[1];
    if (lead < 0xe0) return if (lead >= 0xc2 and continues(second)) 2 else 0;
    if (text.len < 3 or !continues(second) or !continues(text[2])) return 0;
    if (lead < 0xf0) {
        if (lead == 0xe0 and second < 0xa0) return 0; // overlong
        if (lead == 0xed and second > 0x9f) return 0; // a surrogate
        return 3;
    }
    if (text.len < 4 or !continues(text[3]) or lead > 0xf4) return 0;
    if (lead == 0xf0 and second < 0x90) return 0; // overlong
    if (lead == 0xf4 and second > 0x8f) return 0; // above U+10FFFF
    return 4;
}

fn continues(byte: u8) bool {
    return byte & 0xc0 == 0x80;
}

/// One escape sequence: how long it is, and which code point it names.
pub const Escape = struct { len: usize, point: u32 };

/// Returns the length of the escape at the start of `text`, or 0 where it is malformed; a lone surrogate is.
pub fn escapeLength(text: []const u8) usize {
    if (text.len < 2) return 0;
    return switch (text[1]) {
        '"', '\\', '/', 'b', 'f', 'n', 'r', 't' => 2,
        'u' => unicodeEscapeLength(text),
        else => 0,
    };
}

fn unicodeEscapeLength(text: []const u8) usize {
    if (text.len < 6) return 0;
    if (@as(*align(1) const u32, @ptrCast(text.ptr)).* == control_escape) {
        return if ((digits[text[4]] | digits[text[5]]) & no_digit == 0) 6 else 0;
    }
    return if (unicodeEscape(text)) |found| found.len else 0;
}

/// Returns the escape at the start of `text`, or null where it is malformed.
fn escape(text: []const u8) ?Escape {
    if (text.len < 2) return null;
    const point: u32 = switch (text[1]) {
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
    if (first & 0xf800 != 0xd800) return .{ .len = 6, .point = first };
    if (first & 0xfc00 != 0xd800) return null;
    const second = unit(text[6..]) orelse return null;
    if (second & 0xfc00 != 0xdc00) return null;
    return .{ .len = 12, .point = 0x1_0000 + ((first & 0x3ff) << 10) + (second & 0x3ff) };
}

/// Returns the UTF-16 code unit that `\uXXXX` at the start of `text` names, or null where there is none.
inline fn unit(text: []const u8) ?u32 {
    if (text.len < 6 or text[0] != '\\' or text[1] != 'u') return null;
    const a, const b, const c, const d = .{ digits[text[2]], digits[text[3]], digits[text[4]], digits[text[5]] };
    if ((a | b | c | d) & no_digit != 0) return null;
    return @as(u32, a) << 12 | @as(u32, b) << 8 | @as(u32, c) << 4 | d;
}

const no_digit = 0x80;

/// `\u00`, as encoders begin the escape of a control character: worth a shorter way.
const control_escape: u32 = 0x30_30_75_5c;

/// The value of each byte as a hexadecimal digit.
const digits: [256]u8 = table: {
    var values: [256]u8 = @splat(no_digit);
    for ("0123456789", 0..) |byte, value| values[byte] = value;
    for ("abcdef", "ABCDEF", 10..) |lower, upper, value| {
        values[lower] = value;
        values[upper] = value;
    }
    break :table values;
};

/// Returns the text that `escaped`, the inside of a well-formed JSON string, stands for.
pub fn decode(escaped: []const u8) memory.Error![]const u8 {
    const out = try memory.bytes(escaped.len);
    var from: usize = 0;
    var to: usize = 0;
    while (from < escaped.len) {
        if (escaped[from] == '\\') {
            const found = escape(escaped[from..]) orelse break;
            to += encode(found.point, out[to..]);
            from += found.len;
        } else {
            const run = plainPrefix(escaped[from..]);
            if (run > 0) @memcpy(out[to..][0..run], escaped[from..][0..run]) else out[to] = escaped[from];
            from += @max(run, 1);
            to += @max(run, 1);
        }
    }
    return out[0..to];
}

/// Writes a code point as UTF-8; an escape is never shorter than what it stands for, so there is room.
fn encode(point: u32, out: []u8) usize {
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
