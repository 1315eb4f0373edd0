//! Operations on objects, and on places inside of values.

const std = @import("std");
const mission = @import("mission");
const pointers = @import("pointer.zig");
const json = mission.json;

const Fields = mission.Fields;
const Value = json.Value;
const Error = mission.Error;
const Members = mission.memory.List(json.Member);

/// {pointer, default?}: the value at the pointer.
pub fn get(value: Value, fields: Fields) Error!Value {
    const tokens = try pointers.Tokens.of(try (try fields.requireString("pointer")).text());
    if (try pointers.find(value, tokens)) |found| return found;
    return fields.get("default") orelse mission.refuse("transform.not_found", "nothing is at the pointer");
}

/// {pointer, value}: the value with another one at the pointer, whose parent must exist; `-` appends to an array.
pub fn set(value: Value, fields: Fields) Error!Value {
    const wanted = try fields.require("value");
    var tokens = try pointers.Tokens.of(try (try fields.requireString("pointer")).text());
    return replaced(value, &tokens, wanted, 0);
}

fn replaced(value: Value, tokens: *pointers.Tokens, wanted: Value, depth: usize) Error!Value {
    const token = try tokens.next() orelse return wanted;
    if (depth == mission.write.depth_max) return mission.failure.invalid("pointer: too deep");
    switch (value.data) {
        .object => |members| {
            const at = for (members, 0..) |member, at| {
                if (std.mem.eql(u8, member.key, token)) break at;
            } else members.len;
            if (at == members.len and tokens.rest.len > 0) return missingParent();
            const room = try mission.memory.slice(json.Member, @max(members.len, at + 1));
            @memcpy(room[0..members.len], members);
            const old = if (at < members.len) members[at].value else json.empty;
            room[at] = .{ .key = token, .value = try replaced(old, tokens, wanted, depth + 1) };
            return .{ .data = .{ .object = room } };
        },
        .array => |items| {
            const appends = std.mem.eql(u8, token, "-") and tokens.rest.len == 0;
            const at = if (appends) items.len else pointers.position(token, items.len) orelse return missingParent();
            const room = try mission.memory.slice(Value, @max(items.len, at + 1));
            @memcpy(room[0..items.len], items);
            const old = if (at < items.len) items[at] else json.empty;
            room[at] = try replaced(old, tokens, wanted, depth + 1);
            return .{ .data = .{ .array = room } };
        },
        else => return missingParent(),
    }
}

fn missingParent() error{Refused} {
    return mission.refuse("transform.not_found", "the pointer's parent does not exist");
}

/// {keys}: the object with these members only, in their order; those that it lacks are left out.
pub fn pick(value: Value, fields: Fields) Error!Value {
    return kept(value, fields, true);
}

/// {keys}: the object without these members.
pub fn remove(value: Value, fields: Fields) Error!Value {
    return kept(value, fields, false);
}

fn kept(value: Value, fields: Fields, listed: bool) Error!Value {
    const members = try objectOf(value);
    const keys = try fields.requireArray("keys");
    const names = try mission.memory.slice([]const u8, keys.len);
    for (keys, names) |key, *name| {
        if (!key.isString()) return mission.failure.invalid("keys: strings are needed");
        name.* = try key.text();
    }
    var out: Members = .{};
    for (members) |member| {
        const found = for (names) |name| {
            if (std.mem.eql(u8, member.key, name)) break true;
        } else false;
        if (found == listed) try out.append(member);
    }
    return .{ .data = .{ .object = out.items } };
}

/// {from, to}: the object with a member renamed, in its place.
pub fn rename(value: Value, fields: Fields) Error!Value {
    const members = try objectOf(value);
    const from = try (try fields.requireString("from")).text();
    const to = try (try fields.requireString("to")).text();
    const room = try mission.memory.copy(json.Member, members);
    var renamed = false;
    for (room) |*member| {
        if (std.mem.eql(u8, member.key, from)) {
            member.key = to;
            renamed = true;
        } else if (std.mem.eql(u8, member.key, to)) {
            return mission.refuse("transform.exists", "the object has a member of the new name");
        }
    }
    if (!renamed) return mission.refuse("transform.not_found", "the object has no member of the old name");
    return .{ .data = .{ .object = room } };
}

/// {with}: the members of both objects; where both have one, that of `with`, in the place of the first.
pub fn merge(value: Value, fields: Fields) Error!Value {
    const members = try objectOf(value);
    const with = try fields.require("with");
    if (with.data != .object) return mission.failure.invalid("with: an object is needed");
    const known = try mission.index.Index.of(members) orelse unreachable; // names differ in every object
    var out: Members = .{};
    for (members) |member| try out.append(member);
    for (with.data.object) |member| {
        if (known.find(member.key)) |at| out.items[at] = member else try out.append(member);
    }
    return .{ .data = .{ .object = out.items } };
}

/// {value}: that value instead of null.
pub fn default(value: Value, fields: Fields) Error!Value {
    const other = try fields.require("value");
    return if (value.data == .null) other else value;
}

fn objectOf(value: Value) Error![]const json.Member {
    return if (value.data == .object) value.data.object else mission.refuse("transform.type", "an object is needed");
}
