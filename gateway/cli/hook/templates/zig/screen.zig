//! Denies http steps whose address begins with none of the prefixes that the site allows: https:// unless its settings say
//! more.

const std = @import("std");
const mission = @import("mission");

const prefixes_max = 64;

comptime {
    mission.exportScreen(run);
}

fn run(screen: mission.Screen) mission.Error!mission.Verdict {
    try screen.settings.expect(&.{"prefixes"});
    const prefixes = try screen.settings.strings("prefixes", 0, prefixes_max) orelse
        try mission.json.array(&.{mission.json.string("https://")});
    const step = try screen.object("step");
    const kind = try (try step.requireString("step_type")).text();
    if (!std.mem.eql(u8, kind, "http")) return .abstain;
    const parameters = try screen.object("parameters");
    if (try parameters.string("url")) |url| {
        const address = try url.text();
        for (prefixes.data.array) |prefix| {
            if (std.mem.startsWith(u8, address, try prefix.text())) return .allow;
        }
    }
    return mission.deny("url", "the address begins with none of the site's prefixes");
}
