//! A stable merge sort of scalars, in time n log n whatever the input, and a set of scalars.

const std = @import("std");
const mission = @import("mission");
const Scalar = @import("scalars.zig").Scalar;

/// Returns the positions of `keys` in ascending order; equal ones keep theirs, also in descending order.
pub fn sorted(keys: []const Scalar, descending: bool) mission.memory.Error![]const u32 {
    var from = try mission.memory.slice(u32, keys.len);
    var to = try mission.memory.slice(u32, keys.len);
    for (from, 0..) |*position, at| position.* = @intCast(at);
    var width: usize = 1;
    while (width < keys.len) : (width *= 2) {
        var start: usize = 0;
        while (start < keys.len) : (start += 2 * width) {
            const middle = @min(start + width, keys.len);
            const end = @min(start + 2 * width, keys.len);
            merge(keys, descending, from[start..middle], from[middle..end], to[start..end]);
        }
        std.mem.swap([]u32, &from, &to);
    }
    return from;
}

fn merge(keys: []const Scalar, descending: bool, left: []const u32, right: []const u32, out: []u32) void {
    var a: usize = 0;
    var b: usize = 0;
    for (out) |*to| {
        const takes_right = a == left.len or (b < right.len and comes(keys, descending, right[b], left[a]));
        to.* = if (takes_right) right[b] else left[a];
        if (takes_right) b += 1 else a += 1;
    }
}

fn comes(keys: []const Scalar, descending: bool, later: u32, earlier: u32) bool {
    return keys[later].order(&keys[earlier]) == @as(std.math.Order, if (descending) .gt else .lt);
}

/// The scalars seen so far, as positions in `keys`.
pub const Set = struct {
    keys: []const Scalar,
    /// A power of two, at most half full; an entry is a position plus one, 0 is free.
    slots: []u32,

    pub fn of(keys: []const Scalar) mission.memory.Error!Set {
        var room: usize = 16;
        while (room < 2 * keys.len) room *= 2;
        const slots = try mission.memory.slice(u32, room);
        @memset(slots, 0);
        return .{ .keys = keys, .slots = slots };
    }

    /// Adds a key by its position, and returns whether it is the first of its value.
    pub fn add(self: Set, position: usize) bool {
        const key = &self.keys[position];
        const mask = self.slots.len - 1;
        var at = key.hash() & mask;
        while (self.slots[at] != 0) : (at = (at + 1) & mask) {
            if (self.keys[self.slots[at] - 1].order(key) == .eq) return false;
        }
        self.slots[at] = @intCast(position + 1);
        return true;
    }
};
