//! Members that a hook wants, from C: without them, or of another kind, the run is refused as invalid.

const std = @import("std");
const mission = @import("mission");
const kept = @import("kept.zig");

const Value = mission.json.Value;
const get = @import("reading.zig").mg_get;


const Names = [*:null]const ?[*:0]const u8;

export fn mg_expect(object: ?*const Value, names: Names) void {
    const given = object orelse return;
    if (given.data != .object) return;
    for (given.data.object) |member| {
        if (indexOf(names, member.key) == null) {
            return kept.invalid(&.{ "an unknown field; the known ones: ", listed(names) });
        }
    }
}

export fn mg_require(object: ?*const Value, name: [*:0]const u8) *const Value {
    return get(object, name) orelse missing(name);
}

export fn mg_require_string(object: ?*const Value, name: [*:0]const u8) *const Value {
    return mg_string_member(object, name) orelse missing(name);
}

export fn mg_require_array(object: ?*const Value, name: [*:0]const u8) *const Value {
    const found = mg_require(object, name);
    if (found.data != .array) kept.invalid(&.{ kept.name(name), ": an array is needed" });
    return found;
}

export fn mg_string_member(object: ?*const Value, name: [*:0]const u8) ?*const Value {
    const found = get(object, name) orelse return null;
    if (!found.isString()) kept.invalid(&.{ kept.name(name), ": a string is needed" });
    return found;
}

export fn mg_strings_member(object: ?*const Value, name: [*:0]const u8, least: usize, most: usize) ?*const Value {
    const found = get(object, name) orelse return null;
    const strings = found.data == .array and for (found.data.array) |item| {
        if (!item.isString()) break false;
    } else true;
    if (!strings) {
        kept.invalid(&.{ kept.name(name), ": an array of strings is needed" });
    } else if (found.data.array.len < least or found.data.array.len > most) {
        kept.invalid(&.{ kept.name(name), ": too few or too many" });
    }
    return found;
}

export fn mg_word(object: ?*const Value, name: [*:0]const u8, words: Names) usize {
    const found = mg_string_member(object, name) orelse return 0;
    if (!found.isString()) return 0;
    const text = found.text() catch {
        kept.exhausted();
        return 0;
    };
    return indexOf(words, text) orelse {
        kept.invalid(&.{ kept.name(name), ": one of these is needed: ", listed(words) });
        return 0;
    };
}

export fn mg_integer_member(object: ?*const Value, name: [*:0]const u8, least: i64, most: i64, absent: i64) i64 {
    const found = get(object, name) orelse return absent;
    const number = if (found.data == .number) mission.numbers.whole(found.raw) else null;
    const whole = number orelse {
        kept.invalid(&.{ kept.name(name), ": an integer is needed" });
        return absent;
    };
    if (whole >= least and whole <= most) return whole;
    kept.invalid(&.{ kept.name(name), ": out of range" });
    return absent;
}

export fn mg_boolean_member(object: ?*const Value, name: [*:0]const u8, absent: bool) bool {
    const found = get(object, name) orelse return absent;
    if (found.data == .boolean) return found.data.boolean;
    kept.invalid(&.{ kept.name(name), ": true or false is needed" });
    return absent;
}

export fn mg_member(object: ?*const Value, name: [*:0]const u8) *const Value {
    return get(object, name) orelse {
        kept.malformed(&.{ kept.name(name), ": missing" });
        return &kept.nothing;
    };
}

fn missing(name: [*:0]const u8) *const Value {
    kept.invalid(&.{ kept.name(name), ": missing" });
    return &kept.nothing;
}

fn indexOf(names: Names, wanted: []const u8) ?usize {
    var at: usize = 0;
    while (names[at]) |name| : (at += 1) {
        if (std.mem.eql(u8, kept.name(name), wanted)) return at;
    }
    return null;
}

/// Returns the names with commas between them; nothing where there is no memory for them.
fn listed(names: Names) []const u8 {
    var out: []u8 = mission.memory.bytes(0) catch return "";
    var at: usize = 0;
    while (names[at]) |name| : (at += 1) {
        for ([_][]const u8{ if (at > 0) ", " else "", kept.name(name) }) |part| {
            const len = out.len;
            out = mission.memory.extended(out, len + part.len) catch return "";
            @memcpy(out[len..], part);
        }
    }
    return out;
}
