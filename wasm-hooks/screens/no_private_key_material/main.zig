//! no_private_key_material: denies a step that carries a private key in PEM, or in the armour of OpenPGP.
//!
//! Source: RFC 7468, 10 and 11 (labels that end in PRIVATE KEY); RFC 9580, 6.2 (PGP PRIVATE KEY BLOCK).

const std = @import("std");
const mission = @import("mission");

const dashes = "-----";
const begin = dashes ++ "BEGIN ";
const private = [_][]const u8{ "PRIVATE KEY", "PRIVATE KEY BLOCK" };
const label_len_max = 64; // far beyond any known label

comptime {
    mission.exportTextScreen(run);
}

fn run(text: []const u8) mission.Error!mission.Verdict {
    var at: usize = dashes.len;
    // A letter is rarer than a dash: most of a document is passed over a byte at a time.
    while (std.mem.indexOfScalarPos(u8, text, at, 'B')) |found| {
        at = found + 1;
        const line = text[found - dashes.len ..];
        if (std.mem.startsWith(u8, line, begin) and isPrivate(line[begin.len..])) {
            return mission.deny("found", "the step carries a private key");
        }
    }
    return .allow;
}

/// Whether the text begins with the rest of such a line: a label, and dashes.
fn isPrivate(rest: []const u8) bool {
    const len = std.mem.indexOf(u8, rest[0..@min(rest.len, label_len_max)], dashes) orelse return false;
    for (private) |end| {
        if (std.mem.endsWith(u8, rest[0..len], end)) return true;
    }
    return false;
}
