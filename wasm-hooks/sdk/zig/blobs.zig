//! References to contents that are too large for a journal: `{"$blob": "sha256:…", "size": n}`.

const std = @import("std");
const json = @import("json.zig");

/// Whether a value has the two members of a reference and no other; whose content it is, the gateway looks up.
pub fn isReference(value: json.Value) bool {
    if (value.data != .object or value.data.object.len != 2) return false;
    const digest = value.get("$blob") orelse return false;
    const size = value.get("size") orelse return false;
    return digest.isString() and size.data == .number;
}
