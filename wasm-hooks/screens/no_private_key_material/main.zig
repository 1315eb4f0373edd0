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
    while (at < text.len) : (at += 1) {
        if (text[at] != 'B' or text[at - 1] != '-') continue; // a few instructions a byte, whatever the bytes are
        const line = text[at - dashes.len ..];
        if (std.mem.startsWith(u8, line, begin) and isPrivate(line[begin.len..])) {
            return mission.deny("found", "the step carries a private key");
        }
    }
    return .allow;
}

/// Whether the text begins with the rest of such a line: a label, and dashes.
fn isPrivate(rest: []const u8) bool {
    var run_len: usize = 0;
    for (rest[0..@min(rest.len, label_len_max)], 1..) |byte, end| {
        run_len = if (byte == '-') run_len + 1 else 0;
        if (run_len < dashes.len) continue;
        const label = rest[0 .. end - dashes.len];
        for (private) |words| {
            if (std.mem.endsWith(u8, label, words)) return true;
        }
        return false;
    }
    return false;
}
