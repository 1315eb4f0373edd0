//! One order over strings, numbers, booleans and null, which sort, unique and filter share.

const std = @import("std");
const mission = @import("mission");

const Value = mission.json.Value;

/// A value that can be compared; strings are decoded once.
pub const Scalar = struct {
    rank: enum { null, boolean, number, string },
    boolean: bool = false,
    number: mission.numbers.Decimal = undefined,
    text: []const u8 = "",

    /// Returns the comparable form, or null for an array or an object.
    pub fn of(value: Value) mission.Error!?Scalar {
        return switch (value.data) {
            .null => .{ .rank = .null },
            .boolean => |is| .{ .rank = .boolean, .boolean = is },
            .number => .{ .rank = .number, .number = .of(value.raw) },
            .string, .escaped => .{ .rank = .string, .text = try value.text() },
            .array, .object => null,
        };
    }

    /// Orders numbers by value, strings by code point, false before true, and types by their rank.
    pub fn order(a: Scalar, b: Scalar) std.math.Order {
        if (a.rank != b.rank) return std.math.order(@intFromEnum(a.rank), @intFromEnum(b.rank));
        return switch (a.rank) {
            .null => .eq,
            .boolean => std.math.order(@intFromBool(a.boolean), @intFromBool(b.boolean)),
            .number => mission.numbers.order(a.number, b.number),
            .string => std.mem.order(u8, a.text, b.text),
        };
    }
};

/// A scalar with the place it came from, so that equal ones keep their order.
pub const Keyed = struct {
    scalar: Scalar,
    at: usize,

    pub fn before(descending: bool, a: Keyed, b: Keyed) bool {
        const ordered = a.scalar.order(b.scalar);
        if (ordered == .eq) return a.at < b.at;
        return (ordered == .lt) != descending;
    }
};
