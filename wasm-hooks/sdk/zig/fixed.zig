//! Exact sums of decimal numbers: 0.1 and 0.2 make 0.3.

const Decimal = @import("numbers.zig").Decimal;
const memory = @import("memory.zig");

/// Digits after the point that a term may have.
const places = 18;
const parts_per_unit: i64 = 1_000_000_000_000_000_000;

/// `units + parts / 10^18`; both have the same sign, or are zero.
pub const Fixed = struct {
    units: i64 = 0,
    parts: i64 = 0,

    /// Returns a JSON number's exact value, or null where it has more than 18 places or does not fit 64 bits.
    pub fn of(number: []const u8) ?Fixed {
        const decimal: Decimal = .of(number);
        if (decimal.significand.len == 0) return .{};
        if (decimal.exponent >= places + 1) return null;
        var digits: Decimal.Digits = .{ .rest = decimal.significand };
        var self: Fixed = .{};
        const sign: i64 = if (decimal.negative) -1 else 1;
        var exponent = decimal.exponent;
        while (exponent >= 0) : (exponent -= 1) {
            const scaled = @mulWithOverflow(self.units, 10);
            const added = @addWithOverflow(scaled[0], sign * digits.next());
            if (scaled[1] | added[1] != 0) return null;
            self.units = added[0];
        }
        // Here `exponent` is the place of the next digit: -1, or further behind the point for a number below 0.1.
        var weight = parts_per_unit;
        var place: i32 = 0;
        while (place > exponent and weight > 0) : (place -= 1) weight = @divTrunc(weight, 10);
        while (weight > 0) : (weight = @divTrunc(weight, 10)) {
            self.parts += sign * weight * digits.next();
        }
        while (digits.rest.len > 0) {
            if (digits.next() != 0) return null;
        }
        return self;
    }

    /// Returns the sum, or null where it does not fit 64 bits.
    pub fn plus(self: Fixed, other: Fixed) ?Fixed {
        var sum: Fixed = .{ .parts = self.parts + other.parts };
        var carry: i64 = 0;
        if (sum.parts >= parts_per_unit) carry = 1;
        if (sum.parts <= -parts_per_unit) carry = -1;
        sum.parts -= carry * parts_per_unit;
        const units = @addWithOverflow(self.units, other.units);
        const carried = @addWithOverflow(units[0], carry);
        if (units[1] | carried[1] != 0) return null;
        sum.units = carried[0];
        sum.alignSigns();
        return sum;
    }

    fn alignSigns(self: *Fixed) void {
        if (self.units > 0 and self.parts < 0) {
            self.units -= 1;
            self.parts += parts_per_unit;
        } else if (self.units < 0 and self.parts > 0) {
            self.units += 1;
            self.parts -= parts_per_unit;
        }
    }

    /// Returns the shortest JSON number of this value: no fraction where there is none, no zeros at its end.
    pub fn text(self: Fixed) memory.Error![]const u8 {
        const out = try memory.bytes(48);
        var at: usize = out.len;
        var parts: u64 = @abs(self.parts);
        if (parts != 0) {
            var place: usize = 0;
            var significant = false;
            while (place < places) : (place += 1) {
                const digit: u8 = @intCast(parts % 10);
                parts /= 10;
                significant = significant or digit != 0;
                if (!significant) continue;
                at -= 1;
                out[at] = '0' + digit;
            }
            at -= 1;
            out[at] = '.';
        }
        var units: u64 = @abs(self.units);
        while (true) {
            at -= 1;
            out[at] = '0' + @as(u8, @intCast(units % 10));
            units /= 10;
            if (units == 0) break;
        }
        if (self.units < 0 or self.parts < 0) {
            at -= 1;
            out[at] = '-';
        }
        return out[at..];
    }
};
