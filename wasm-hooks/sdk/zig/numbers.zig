//! JSON numbers as text: checked, compared and added without ever becoming floating point.

const std = @import("std");
pub const Fixed = @import("fixed.zig").Fixed;

/// Every number lies between plus and minus this; it is the least decimal that no longer is a finite IEEE 754 double,
/// to the nineteenth digit.
const bound = "1.797693134862315807e308";

/// Returns the length of the number at the start of `text`, or null where there is none (RFC 8259, 6), or one that
/// does not cross the gateway unchanged: an integer beyond 64 bits, or what is no finite double.
pub fn acceptable(text: []const u8) ?usize {
    var at: usize = 0;
    if (at < text.len and text[at] == '-') at += 1;
    const leading = digits(text[at..]);
    if (leading == 0 or (leading > 1 and text[at] == '0')) return null;
    at += leading;
    if (at == text.len or (text[at] != '.' and text[at] | 0x20 != 'e')) {
        return if (leading < digits_safe or integer(text[0..at]) != null) at else null;
    }
    if (text[at] == '.') {
        const fraction = digits(text[at + 1 ..]);
        if (fraction == 0) return null;
        at += 1 + fraction;
    }
    if (at == text.len or text[at] | 0x20 != 'e') return if (leading < digits_safe or finite(text[0..at])) at else null;
    at += 1;
    if (at < text.len and (text[at] == '+' or text[at] == '-')) at += 1;
    const exponent = digits(text[at..]);
    if (exponent == 0) return null;
    at += exponent;
    return if (finite(text[0..at])) at else null;
}

/// An integer of fewer digits fits 64 bits.
const digits_safe = 19;

fn digits(text: []const u8) usize {
    for (text, 0..) |byte, at| {
        if (byte < '0' or byte > '9') return at;
    }
    return text.len;
}

fn finite(text: []const u8) bool {
    var magnitude: Decimal = .of(text);
    magnitude.negative = false;
    return order(magnitude, .of(bound)) == .lt;
}

/// Returns an integer's value, or null where it does not fit 64 bits.
pub fn integer(text: []const u8) ?i64 {
    const negative = text[0] == '-';
    var value: i64 = 0;
    for (text[@intFromBool(negative)..]) |byte| {
        const digit: i64 = byte - '0';
        const scaled = @mulWithOverflow(value, 10);
        const added = if (negative) @subWithOverflow(scaled[0], digit) else @addWithOverflow(scaled[0], digit);
        if (scaled[1] | added[1] != 0) return null;
        value = added[0];
    }
    return value;
}

/// A number as its significant digits times a power of ten.
pub const Decimal = struct {
    negative: bool,
    /// From the first digit that is not zero, without the sign; may hold one point. Empty for zero.
    significand: []const u8,
    /// The power of ten of the first significant digit, saturated.
    exponent: i32,

    pub fn of(text: []const u8) Decimal {
        const negative = text[0] == '-';
        const unsigned = text[@intFromBool(negative)..];
        const mantissa = unsigned[0..mantissaLength(unsigned)];
        const point = std.mem.findScalar(u8, mantissa, '.') orelse mantissa.len;
        const scale = exponentOf(unsigned[mantissa.len..]);
        for (mantissa, 0..) |byte, at| {
            if (byte == '0' or byte == '.') continue;
            const place = @as(i32, @intCast(point)) - @as(i32, @intCast(at));
            const exponent = scale + if (at < point) place - 1 else place;
            return .{ .negative = negative, .significand = mantissa[at..], .exponent = exponent };
        }
        return .{ .negative = false, .significand = "", .exponent = 0 };
    }

    /// Yields the significant digits, then zeros without end.
    pub const Digits = struct {
        rest: []const u8,

        pub fn next(self: *Digits) u8 {
            if (self.rest.len > 0 and self.rest[0] == '.') self.rest = self.rest[1..];
            if (self.rest.len == 0) return 0;
            defer self.rest = self.rest[1..];
            return self.rest[0] - '0';
        }
    };
};

fn mantissaLength(unsigned: []const u8) usize {
    for (unsigned, 0..) |byte, at| {
        if (byte | 0x20 == 'e') return at;
    }
    return unsigned.len;
}

/// Returns the value of an `e±digits` suffix, kept within what no sum of exponents can overflow.
fn exponentOf(suffix: []const u8) i32 {
    if (suffix.len == 0) return 0;
    var value: i32 = 0;
    for (suffix[1..]) |byte| {
        if (byte >= '0' and byte <= '9' and value < 100_000_000) value = value * 10 + (byte - '0');
    }
    return if (suffix[1] == '-') -value else value;
}

/// Returns the value of a number without a fraction, however it is written, or null where it does not fit 64 bits.
pub fn whole(text: []const u8) ?i64 {
    if (digits(text[@intFromBool(text[0] == '-')..]) + @intFromBool(text[0] == '-') == text.len) return integer(text);
    const fixed = Fixed.of(text) orelse return null;
    return if (fixed.parts == 0) fixed.units else null;
}

/// Compares two numbers by value: 1, 1.0 and 10e-1 are equal, and so are 0 and -0.
pub fn order(a: Decimal, b: Decimal) std.math.Order {
    if (a.negative != b.negative) return if (a.negative) .lt else .gt;
    const magnitudes = orderMagnitudes(a, b);
    return if (a.negative) magnitudes.invert() else magnitudes;
}

fn orderMagnitudes(a: Decimal, b: Decimal) std.math.Order {
    if (a.significand.len == 0 or b.significand.len == 0) return std.math.order(a.significand.len, b.significand.len);
    if (a.exponent != b.exponent) return std.math.order(a.exponent, b.exponent);
    var left: Decimal.Digits = .{ .rest = a.significand };
    var right: Decimal.Digits = .{ .rest = b.significand };
    while (left.rest.len > 0 or right.rest.len > 0) {
        const ordered = std.math.order(left.next(), right.next());
        if (ordered != .eq) return ordered;
    }
    return .eq;
}
