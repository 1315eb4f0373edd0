//! Takes white space off both ends of the parameters that the site names: of `message` unless its settings
//! say more.

const std = @import("std");
const mission = @import("mission");

const fields_max = 64;

comptime {
    mission.exportRewrite(run);
}

fn run(rewrite: mission.Rewrite) mission.Error!mission.json.Value {
    try rewrite.settings.expect(&.{"fields"});
    const fields = try rewrite.settings.strings("fields", 0, fields_max) orelse
        try mission.json.array(&.{mission.json.string("message")});
    if (rewrite.value.data != .object) return rewrite.value;
    const members = try mission.memory.copy(mission.json.Member, rewrite.value.data.object);
    for (members) |*member| {
        if (!member.value.isString() or !try isNamed(fields, member.key)) continue;
        const text = try member.value.text();
        member.value = mission.json.string(std.mem.trim(u8, text, " \t\r\n"));
    }
    return mission.json.object(members);
}

fn isNamed(fields: mission.json.Value, name: []const u8) mission.Error!bool {
    for (fields.data.array) |field| {
        if (std.mem.eql(u8, try field.text(), name)) return true;
    }
    return false;
}
