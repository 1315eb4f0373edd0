//! The C side of the SDK: the functions of `missiongate.h`, on the JSON of the SDK in Zig.
//!
//! This is the root of a module that is written in C; `mg_hook` is what the C source exports.

const std = @import("std");
const mission = @import("mission");
const answers = @import("answers.zig");
const kept = @import("kept.zig");

const hook = mission.hook;
const json = mission.json;
const malformed = mission.failure.malformed;

comptime {
    hook.exportText(answer);
    _ = answers;
    _ = @import("making.zig");
    _ = @import("members.zig");
    _ = @import("reading.zig");
    _ = @import("texts.zig");
}

const Step = extern struct { parameters: *const json.Value, journal: *const json.Value, document: *const json.Value };
const Placed = extern struct { at: kept.Text, settings: *const json.Value, document: *const json.Value };
const Rewrite = extern struct {
    at: kept.Text,
    settings: *const json.Value,
    step: *const json.Value,
    value: *const json.Value,
};

const Entry = extern struct {
    kind: enum(c_int) { step, screen, rewrite, observe },
    run: extern union {
        step: *const fn (*const Step) callconv(.c) ?*const json.Value,
        screen: *const fn (*const Placed) callconv(.c) ?*const json.Value,
        rewrite: *const fn (*const Rewrite) callconv(.c) ?*const json.Value,
        observe: *const fn (*const Placed) callconv(.c) void,
    },
};

extern const mg_hook: Entry;

fn answer(text: []const u8) hook.Problem![]const u8 {
    const found: ?*const json.Value = switch (mg_hook.kind) {
        .step => try stepped(try hook.document(text, "step")),
        .screen => mg_hook.run.screen(&try placed(mission.Screen.At, try hook.document(text, "screen"))),
        .rewrite => try rewritten(try hook.document(text, "rewrite")),
        .observe => observed: {
            mg_hook.run.observe(&try placed(mission.Observe.At, try hook.document(text, "observe")));
            break :observed &json.empty;
        },
    };
    if (kept.problem) |problem| return problem;
    return mission.write.text((found orelse return mission.refuse("internal", "the hook answered nothing")).*);
}

fn stepped(root: json.Value) hook.Problem!?*const json.Value {
    _ = try hook.object(root, "parameters");
    if ((try hook.member(root, "journal")).data != .array) return malformed("journal: an array is needed");
    const input: Step = .{
        .parameters = try part(root, "parameters"),
        .journal = try part(root, "journal"),
        .document = try kept.value(root),
    };
    return mg_hook.run.step(&input);
}

fn placed(comptime At: type, root: json.Value) hook.Problem!Placed {
    const at = try hook.place(At, root);
    _ = try hook.object(root, "settings");
    return .{ .at = .of(@tagName(at)), .settings = try part(root, "settings"), .document = try kept.value(root) };
}

fn rewritten(root: json.Value) hook.Problem!?*const json.Value {
    const at = try hook.place(mission.Rewrite.At, root);
    _ = try hook.object(root, "settings");
    _ = try hook.object(root, "step");
    const name = @tagName(at);
    const input: Rewrite = .{
        .at = .of(name),
        .settings = try part(root, "settings"),
        .step = try part(root, "step"),
        .value = switch (at) {
            .parameters => try part(root, "parameters"),
            .output => try part(root, "output"),
        },
    };
    const value = mg_hook.run.rewrite(&input) orelse return null;
    return try kept.value(try json.object(&.{.{ .key = name, .value = value.* }}));
}

fn part(root: json.Value, comptime name: []const u8) mission.Error!*const json.Value {
    return kept.value(try hook.member(root, name));
}
