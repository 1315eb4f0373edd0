//! One order over strings, numbers, booleans and null, which sort, unique and filter share.

const std = @import("std");
const mission = @import("mission");
const numbers = mission.numbers;

const Value = mission.json.Value;

/// A value that can be compared; strings are decoded once, integers read once.
pub const Scalar = union(enum) {
    null,
    boolean: bool,
    number: Number,
    string: []const u8,

    /// Returns the comparable form, or null for an array or an object.
    pub fn of(value: Value) mission.Error!?Scalar {
        return switch (value.data) {
            .null => .null,
            .boolean => |is| .{ .boolean = is },
            .number => .{ .number = .of(value.raw) },
            .string => |text| .{ .string = text },
            .escaped => .{ .string = try value.text() },
            .array, .object => null,
        };
    }

    /// Orders numbers by value, strings by code point, false before true, and types by their names above.
    pub fn order(a: *const Scalar, b: *const Scalar) std.math.Order {
        if (std.meta.activeTag(a.*) != std.meta.activeTag(b.*)) {
            return std.math.order(@backingInt(a.*), @backingInt(b.*));
        }
        return switch (a.*) {
            .null => .eq,
            .boolean => |is| std.math.order(@intFromBool(is), @intFromBool(b.boolean)),
            .number => |*number| number.order(&b.number),
            .string => |text| std.mem.order(u8, text, b.string),
        };
    }

    /// Returns a hash; equal scalars have equal ones.
    pub fn hash(self: *const Scalar) u32 {
        return switch (self.*) {
            .null => 1,
            .boolean => |is| 2 + @as(u32, @intFromBool(is)),
            .number => |*number| number.hash(),
            .string => |text| mission.index.hash(text),
        };
    }
};

/// A number, as an integer where it is one.
pub const Number = struct {
    text: []const u8,
    integer: ?i64,

    fn of(text: []const u8) Number {
        return .{ .text = text, .integer = numbers.whole(text) };
    }

    fn order(a: *const Number, b: *const Number) std.math.Order {
        if (a.integer != null and b.integer != null) return std.math.order(a.integer.?, b.integer.?);
        return numbers.order(.of(a.text), .of(b.text));
    }

    fn hash(self: *const Number) u32 {
        if (self.integer) |integer| {
            const bits: u64 = @bitCast(integer);
            return mix(@as(u32, @truncate(bits)) ^ mix(@truncate(bits >> 32)));
        }
        const decimal: numbers.Decimal = .of(self.text);
        var digits: numbers.Decimal.Digits = .{ .rest = decimal.significand };
        var state: u32 = @bitCast(decimal.exponent);
        var zeros: u32 = 0; // those at the end do not count
        while (digits.rest.len > 0) {
            const digit = digits.next();
            if (digit == 0) {
                zeros += 1;
                continue;
            }
            state = mix(state ^ (zeros << 8 | digit));
            zeros = 0;
        }
        return state;
    }
};

fn mix(value: u32) u32 {
    const product = value *% 0x9e37_79b1;
    return product ^ product >> 15;
}
