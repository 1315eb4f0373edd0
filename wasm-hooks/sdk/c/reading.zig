//! Looking at values, from C.

const std = @import("std");
const mission = @import("mission");
const kept = @import("kept.zig");

const json = mission.json;
const numbers = mission.numbers;
const Value = json.Value;

/// `mg_kind`.
const Kind = enum(c_int) { null, boolean, number, string, array, object };

export fn mg_kind_of(value: ?*const Value) Kind {
    return switch ((value orelse return .null).data) {
        .null => .null,
        .boolean => .boolean,
        .number => .number,
        .string, .escaped => .string,
        .array => .array,
        .object => .object,
    };
}

export fn mg_count(value: ?*const Value) usize {
    return switch ((value orelse return 0).data) {
        .array => |items| items.len,
        .object => |members| members.len,
        else => 0,
    };
}

export fn mg_at(value: ?*const Value, index: usize) *const Value {
    if (index >= mg_count(value)) return &kept.nothing;
    return switch (value.?.data) {
        .array => |items| &items[index],
        .object => |members| &members[index].value,
        else => unreachable, // its count is 0
    };
}

export fn mg_name_at(value: ?*const Value, index: usize) kept.Text {
    const data = (value orelse return .of("")).data;
    return .of(if (data == .object and index < data.object.len) data.object[index].key else "");
}

pub export fn mg_get(value: ?*const Value, name: [*:0]const u8) ?*const Value {
    const data = (value orelse return null).data;
    if (data != .object) return null;
    const wanted = kept.name(name);
    for (data.object) |*member| {
        if (std.mem.eql(u8, member.key, wanted)) return &member.value;
    }
    return null;
}

pub export fn mg_text_of(value: ?*const Value) kept.Text {
    const given = value orelse return .of("");
    if (!given.isString()) return .of("");
    return .of(given.text() catch {
        kept.exhausted();
        return .of("");
    });
}

export fn mg_number_of(value: ?*const Value) kept.Text {
    const given = value orelse return .of("");
    return .of(if (given.data == .number) given.raw else "");
}

export fn mg_is_integer(value: ?*const Value, into: *i64) bool {
    const given = value orelse return false;
    if (given.data != .number) return false;
    into.* = numbers.whole(given.raw) orelse return false;
    return true;
}

export fn mg_boolean_of(value: ?*const Value) bool {
    const given = value orelse return false;
    return given.data == .boolean and given.data.boolean;
}

export fn mg_is(value: ?*const Value, text: [*:0]const u8) bool {
    return mg_kind_of(value) == .string and std.mem.eql(u8, mg_text_of(value).slice(), kept.name(text));
}
