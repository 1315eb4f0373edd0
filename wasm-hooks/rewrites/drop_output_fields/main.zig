//! drop_output_fields: takes the members that the site's settings name out of an output, however deep they are.

const std = @import("std");
const mission = @import("mission");
const json = mission.json;

const names_max = 64;

comptime {
    mission.exportRewrite(run);
}

fn run(rewrite: mission.Rewrite) mission.Error!json.Value {
    try rewrite.settings.expect(&.{"fields"});
    const fields = try rewrite.settings.strings("fields", 1, names_max) orelse
        return mission.failure.invalid("fields: missing");
    const names = try mission.memory.slice([]const u8, fields.data.array.len);
    for (names, fields.data.array) |*to, name| to.* = try name.text();
    return without(names, rewrite.value);
}

/// Returns the value without such members, and the very bytes that came where it has none.
///
/// The depth of the recursion is that of the document, which `parse` bounds.
fn without(names: []const []const u8, value: json.Value) mission.Error!json.Value {
    switch (value.data) {
        .object => |members| {
            const kept = try mission.memory.slice(json.Member, members.len);
            var count: usize = 0;
            var same = true;
            for (members) |member| {
                if (isListed(names, member.key)) {
                    same = false;
                    continue;
                }
                kept[count] = .{ .key = member.key, .value = try without(names, member.value) };
                same = same and kept[count].value.raw.len > 0;
                count += 1;
            }
            return if (same) value else json.object(kept[0..count]);
        },
        .array => |items| {
            const kept = try mission.memory.slice(json.Value, items.len);
            var same = true;
            for (kept, items) |*to, item| {
                to.* = try without(names, item);
                same = same and to.raw.len > 0;
            }
            return if (same) value else json.array(kept);
        },
        else => return value,
    }
}

fn isListed(names: []const []const u8, key: []const u8) bool {
    for (names) |name| {
        if (std.ascii.eqlIgnoreCase(name, key)) return true; // names of headers and the like have no one case
    }
    return false;
}
