//! mission_limits: denies a mission that is larger than the site's settings allow, or has a label that they forbid.

const std = @import("std");
const mission = @import("mission");
const json = mission.json;

const count_max = 1 << 53;

comptime {
    mission.exportScreen(run);
}

fn run(screen: mission.Screen) mission.Error!mission.Verdict {
    try screen.settings.expect(&.{ "steps_max", "runs_max", "levels_max", "edges_max", "kinds_max", "labels_denied" });
    const summary: mission.Fields = try screen.object("mission");
    var reasons: mission.memory.List(mission.Reason) = .{};
    inline for (.{ "steps", "runs", "levels", "edges" }) |name| {
        if (try screen.settings.integer(name ++ "_max", 0, count_max)) |most| {
            const message = "the mission has more " ++ name ++ " than the site allows";
            if (try over(summary, name, most)) try reasons.append(.{ .code = name, .message = message });
        }
    }
    const kinds: mission.Fields = .{ .members = try members(try summary.require("kinds")) };
    if (screen.settings.get("kinds_max")) |most| {
        for (try members(most)) |kind| {
            const limit = try integer(kind.value);
            for (kinds.members) |used| {
                if (!std.mem.eql(u8, used.key, kind.key) or try integer(used.value) <= limit) continue;
                const message = "the mission has more steps of one kind than the site allows";
                try reasons.append(.{ .code = "kind", .message = message });
            }
        }
        // What is left out of a list might be over its limit.
        if (try over(summary, "kinds_truncated", 0)) {
            const message = "the mission has more kinds of steps than are told";
            try reasons.append(.{ .code = "kinds_unknown", .message = message });
        }
    }
    if (try screen.settings.strings("labels_denied", 0, 64)) |denied| {
        const labels = try members(try summary.require("labels"));
        for (denied.data.array) |name| {
            for (labels) |label| {
                if (!std.mem.eql(u8, label.key, try name.text())) continue;
                try reasons.append(.{ .code = "label", .message = "the mission has a label that the site denies" });
            }
        }
    }
    // The host takes 16 reasons; the first ones say enough.
    return if (reasons.items.len > 0) .{ .deny = reasons.items[0..@min(16, reasons.items.len)] } else .allow;
}

fn over(summary: mission.Fields, comptime name: []const u8, most: i64) mission.Error!bool {
    const count = try summary.integer(name, 0, count_max) orelse return mission.failure.malformed(name ++ ": missing");
    return count > most;
}

fn integer(value: json.Value) mission.Error!i64 {
    const one: mission.Fields = .{ .members = &.{.{ .key = "limit", .value = value }} };
    return (try one.integer("limit", 0, count_max)).?;
}

fn members(value: json.Value) mission.Error![]const json.Member {
    return if (value.data == .object) value.data.object else mission.failure.invalid("an object is needed");
}
