//! Making values, from C.

const std = @import("std");
const mission = @import("mission");
const kept = @import("kept.zig");

const json = mission.json;
const memory = mission.memory;
const Value = json.Value;

export fn mg_null() *const Value {
    return &kept.nothing;
}

export fn mg_boolean(value: bool) *const Value {
    return kept.made(json.boolean(value));
}

pub export fn mg_integer(value: i64) *const Value {
    return kept.made(json.integer(value) catch {
        kept.exhausted();
        return &kept.nothing;
    });
}

export fn mg_string(text: kept.Text) *const Value {
    return kept.made(json.string(text.slice()));
}

pub export fn mg_array() *Value {
    return kept.made(.{ .data = .{ .array = &.{} } });
}

pub export fn mg_object() *Value {
    return kept.made(json.empty);
}

pub export fn mg_push(array: *Value, value: ?*const Value) *Value {
    if (array.data == .array and array.raw.len == 0) {
        const room = grown(Value, array.data.array) catch {
            kept.exhausted();
            return array;
        };
        room[room.len - 1] = (value orelse &kept.nothing).*;
        array.data = .{ .array = room };
    }
    return array;
}

pub export fn mg_set(object: *Value, name: [*:0]const u8, value: ?*const Value) *Value {
    return mg_set_text(object, .of(kept.name(name)), value);
}

export fn mg_set_text(object: *Value, name: kept.Text, value: ?*const Value) *Value {
    if (object.data == .object and object.raw.len == 0) {
        const room = grown(json.Member, object.data.object) catch {
            kept.exhausted();
            return object;
        };
        room[room.len - 1] = .{ .key = name.slice(), .value = (value orelse &kept.nothing).* };
        object.data = .{ .object = room };
    }
    return object;
}

/// Returns the items with room for one more behind them. At each power of two there is made room for as many again, so
/// what was made here has it, and nothing else says so.
fn grown(comptime T: type, items: []const T) memory.Error![]T {
    if (items.len != 0 and !std.math.isPowerOfTwo(items.len)) return @constCast(items).ptr[0 .. items.len + 1];
    const room = try memory.slice(T, @max(2 * items.len, 1));
    @memcpy(room[0..items.len], items);
    return room[0 .. items.len + 1];
}

export fn mg_parse(text: kept.Text) ?*const Value {
    const found = mission.parse.value(text.slice(), mission.parse.text_depth_max) catch |problem| {
        if (problem == error.OutOfMemory) kept.exhausted();
        return null;
    };
    return kept.made(found);
}
