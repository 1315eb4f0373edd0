//! A hash index of an object's members, so that large objects cost linear time.

const std = @import("std");
const json = @import("json.zig");
const memory = @import("memory.zig");

/// Below this many members a plain comparison of all pairs is cheaper.
const small = 8;

/// Returns whether all names differ.
pub fn distinct(members: []const json.Member) memory.Error!bool {
    if (members.len > small) {
        _ = try Index.of(members) orelse return false;
        return true;
    }
    for (members, 0..) |member, at| {
        for (members[0..at]) |earlier| {
            if (member.key.len == earlier.key.len and std.mem.eql(u8, member.key, earlier.key)) return false;
        }
    }
    return true;
}

pub const Index = struct {
    members: []const json.Member,
    /// A power of two, at most half full; an entry is a member's position plus one, 0 is free.
    slots: []u32,

    /// Returns the index, or null where two members have one name.
    pub fn of(members: []const json.Member) memory.Error!?Index {
        var room: usize = 16;
        while (room < 2 * members.len) room *= 2;
        const self: Index = .{ .members = members, .slots = try memory.slice(u32, room) };
        @memset(self.slots, 0);
        for (members, 1..) |member, entry| {
            const slot = self.probe(member.key);
            if (slot.* != 0) return null;
            slot.* = @intCast(entry);
        }
        return self;
    }

    /// Returns the position of the member of that name.
    pub fn find(self: Index, key: []const u8) ?usize {
        const entry = self.probe(key).*;
        return if (entry == 0) null else entry - 1;
    }

    fn probe(self: Index, key: []const u8) *u32 {
        const mask = self.slots.len - 1;
        var at = hash(key) & mask;
        while (true) : (at = (at + 1) & mask) {
            const entry = self.slots[at];
            if (entry == 0 or std.mem.eql(u8, self.members[entry - 1].key, key)) return &self.slots[at];
        }
    }
};

/// FNV-1a, folded. An input that makes names collide only spends its own fuel.
pub fn hash(key: []const u8) u32 {
    var state: u32 = 0x811c_9dc5;
    for (key) |byte| state = (state ^ byte) *% 0x0100_0193;
    return state ^ state >> 15;
}
