//! The memory of one run: a bump allocator over linear memory.
//!
//! Nothing is freed: a run is one call, and the host throws the instance away after it.

const std = @import("std");

const page_bytes = 64 * 1024;

/// Set by the linker: the first byte after the stack and the module's data.
extern var __heap_base: u8;

/// The first free byte; 0 until the first allocation.
var next: usize = 0;

pub const Error = error{OutOfMemory};

/// Returns `len` bytes, aligned to 8, with undefined content.
pub fn bytes(len: usize) Error![]u8 {
    const start = alignUp(if (next == 0) @intFromPtr(&__heap_base) else next);
    try reserve(start, len);
    next = start + len;
    return @as([*]u8, @ptrFromInt(start))[0..len];
}

/// Returns `len` items of `T` with undefined content.
pub fn slice(comptime T: type, len: usize) Error![]T {
    if (len > 0x7fff_ffff / @sizeOf(T)) return error.OutOfMemory;
    const room = try bytes(len * @sizeOf(T));
    return @as([*]T, @ptrCast(@alignCast(room.ptr)))[0..len];
}

/// Returns a copy that outlives the caller's stack.
pub fn copy(comptime T: type, items: []const T) Error![]T {
    const room = try slice(T, items.len);
    @memcpy(room, items);
    return room;
}

/// Returns `old` with `len` bytes, moved only where something was allocated after it.
pub fn extended(old: []u8, len: usize) Error![]u8 {
    const start = @intFromPtr(old.ptr);
    if (start + old.len == next) {
        try reserve(start, len);
        next = start + len;
        return old.ptr[0..len];
    }
    const room = try bytes(len);
    @memcpy(room[0..old.len], old);
    return room;
}

/// A list that grows by doubling.
pub fn List(comptime T: type) type {
    return struct {
        items: []T = &.{},
        room: []u8 = &.{},

        const Self = @This();

        pub fn append(self: *Self, item: T) Error!void {
            (try self.grown()).* = item;
        }

        /// Appends an item with undefined content.
        pub fn grown(self: *Self) Error!*T {
            const len = self.items.len;
            if ((len + 1) * @sizeOf(T) > self.room.len) try self.grow();
            self.items = self.items.ptr[0 .. len + 1];
            return &self.items[len];
        }

        pub fn shrink(self: *Self, len: usize) void {
            self.items = self.items[0..len];
        }

        noinline fn grow(self: *Self) Error!void {
            const wanted = @max(2 * self.room.len, 16 * @sizeOf(T));
            self.room = if (self.room.len == 0) try bytes(wanted) else try extended(self.room, wanted);
            self.items.ptr = @ptrCast(@alignCast(self.room.ptr));
        }
    };
}

/// Whether the `len` bytes at `start` lie in the memory that the host has given so far.
pub fn holds(start: usize, len: usize) bool {
    return @as(u64, start) + len <= size();
}

fn alignUp(address: usize) usize {
    return (address + 7) & ~@as(usize, 7);
}

fn size() u64 {
    return @as(u64, @wasmMemorySize(0)) * page_bytes;
}

fn reserve(start: usize, len: usize) Error!void {
    const end = @as(u64, start) + len;
    const have = size();
    if (end > have) try grow(end, have);
}

noinline fn grow(end: u64, have: u64) Error!void {
    if (end > 0x7fff_ffff) return error.OutOfMemory;
    const pages: usize = @intCast((end - have + page_bytes - 1) / page_bytes);
    if (@wasmMemoryGrow(0, pages) >= 0) return;
    exhaust(pages);
    return error.OutOfMemory;
}

/// Takes what is left up to the limit: the host tells a run that hit its memory limit by its memory's size.
fn exhaust(refused_pages: usize) void {
    var pages = std.math.floorPowerOfTwo(usize, refused_pages);
    while (pages > 0) : (pages /= 2) {
        _ = @wasmMemoryGrow(0, pages);
    }
}
