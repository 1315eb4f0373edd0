//! A screen: looks at a mission or at a step before it begins, and may deny it or give it less.

const std = @import("std");
const failure = @import("failure.zig");
const hook = @import("hook.zig");
const json = @import("json.zig");
const memory = @import("memory.zig");
const write = @import("write.zig");
const Fields = @import("fields.zig").Fields;

const Error = failure.Error;

/// Why a screen denies. The host puts `screen.<name of the hook>.` before the code.
pub const Reason = struct { code: []const u8, message: []const u8 };

/// What the run gets at most; what is null, or more than it would get anyway, changes nothing.
pub const Narrow = struct { wall_ms_max: ?i64 = null, fuel_max: ?i64 = null, memory_bytes_max: ?i64 = null };

pub const Verdict = union(enum) {
    allow,
    /// Allows, with less.
    narrow: Narrow,
    /// Says nothing, for what this screen is not about.
    abstain,
    deny: []const Reason,
};

/// Returns a no for one reason.
pub fn deny(code: []const u8, message: []const u8) memory.Error!Verdict {
    return .{ .deny = try memory.copy(Reason, &.{.{ .code = code, .message = message }}) };
}

/// The input of a screen.
pub const Screen = struct {
    pub const At = enum { mission, step };

    at: At,
    /// What the site's configuration gives this hook.
    settings: Fields,
    /// The whole document (abi.md).
    document: json.Value,

    /// Returns a member of the document, which must be there.
    pub fn member(self: Screen, comptime name: []const u8) Error!json.Value {
        return hook.member(self.document, name);
    }

    /// Returns the members of an object of the document, which must be there.
    pub fn object(self: Screen, comptime name: []const u8) Error!Fields {
        return hook.object(self.document, name);
    }
};

/// Exports the ABI of a screen that looks at the document's members.
pub fn exportScreen(comptime run: fn (Screen) Error!Verdict) void {
    const screen = struct {
        fn answer(text: []const u8) hook.Problem![]const u8 {
            const root = try hook.document(text, "screen");
            const at = try hook.place(Screen.At, root);
            return write.text(try verdict(try run(.{
                .at = at,
                .settings = try hook.object(root, "settings"),
                .document = root,
            })));
        }
    };
    hook.exportText(screen.answer);
}

/// Exports the ABI of a screen that looks at the document's text only, which costs a fraction of reading it.
///
/// The host writes the document: no character of ASCII but quote, backslash and controls is ever escaped in it.
pub fn exportTextScreen(comptime run: fn ([]const u8) Error!Verdict) void {
    const screen = struct {
        fn answer(text: []const u8) hook.Problem![]const u8 {
            if (!std.mem.startsWith(u8, text, head)) return failure.malformed("the document of a screen is needed");
            return write.text(try verdict(try run(text)));
        }
    };
    hook.exportText(screen.answer);
}

/// How the host begins the document of a screen (abi.md).
const head = "{\"abi\":1,\"kind\":\"screen\",\"at\":\"";

fn verdict(found: Verdict) memory.Error!json.Value {
    switch (found) {
        .allow => return worded("allow"),
        .abstain => return worded("abstain"),
        .narrow => |limits| return json.object(&.{
            .{ .key = "verdict", .value = json.string("allow") },
            .{ .key = "narrow", .value = try narrow(limits) },
        }),
        .deny => |reasons| {
            const list = try memory.slice(json.Value, reasons.len);
            for (list, reasons) |*to, reason| to.* = try json.object(&.{
                .{ .key = "code", .value = json.string(reason.code) },
                .{ .key = "message", .value = json.string(reason.message) },
            });
            return json.object(&.{
                .{ .key = "verdict", .value = json.string("deny") },
                .{ .key = "reasons", .value = try json.array(list) },
            });
        },
    }
}

fn worded(word: []const u8) memory.Error!json.Value {
    return json.object(&.{.{ .key = "verdict", .value = json.string(word) }});
}

fn narrow(limits: Narrow) memory.Error!json.Value {
    var members: [3]json.Member = undefined;
    var count: usize = 0;
    inline for (comptime std.meta.fieldNames(Narrow)) |name| {
        if (@field(limits, name)) |limit| {
            members[count] = .{ .key = name, .value = try json.integer(limit) };
            count += 1;
        }
    }
    return json.object(members[0..count]);
}
