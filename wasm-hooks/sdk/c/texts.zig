//! Refusals, text and memory, from C.

const std = @import("std");
const mission = @import("mission");
const kept = @import("kept.zig");

export fn mg_refuse(code: [*:0]const u8, message: [*:0]const u8) void {
    kept.refuse(kept.name(code), kept.name(message), false);
}

export fn mg_refuse_for_now(code: [*:0]const u8, message: [*:0]const u8) void {
    kept.refuse(kept.name(code), kept.name(message), true);
}

export fn mg_invalid(message: [*:0]const u8) void {
    kept.invalid(&.{kept.name(message)});
}

export fn mg_refused() bool {
    return kept.problem != null;
}

export fn mg_alloc(size: usize) [*]u8 {
    // C does not look; a trap with the memory full is reported as the memory limit.
    const room = mission.memory.bytes(size) catch @trap();
    return room.ptr;
}

/// `mg_buffer`.
const Buffer = extern struct { bytes: ?[*]u8, len: usize, room: usize };

export fn mg_append(buffer: *Buffer, text: kept.Text) void {
    const wanted = std.math.add(usize, buffer.len, text.len) catch return kept.exhausted();
    if (wanted > buffer.room) grow(buffer, @max(2 * buffer.room, wanted, 64)) catch return kept.exhausted();
    if (text.len > 0) @memcpy(buffer.bytes.?[buffer.len..wanted], text.slice());
    buffer.len = wanted;
}

export fn mg_append_char(buffer: *Buffer, byte: u8) void {
    mg_append(buffer, .of(&.{byte}));
}

fn grow(buffer: *Buffer, room: usize) mission.memory.Error!void {
    const grown = if (buffer.bytes) |bytes|
        try mission.memory.extended(bytes[0..buffer.room], room)
    else
        try mission.memory.bytes(room);
    buffer.* = .{ .bytes = grown.ptr, .len = buffer.len, .room = grown.len };
}

export fn mg_same(a: kept.Text, b: kept.Text) bool {
    return std.mem.eql(u8, a.slice(), b.slice());
}

export fn mg_find(text: kept.Text, from: usize, part: kept.Text) usize {
    return std.mem.indexOfPos(u8, text.slice(), @min(from, text.len), part.slice()) orelse text.len;
}
