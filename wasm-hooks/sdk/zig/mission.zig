//! The SDK of a step kind in Zig: a pure function of its input, exported under version 1 of the hook ABI (abi.md).
//!
//! A step is a file that says `comptime { mission.exportStep(run); }` and has a function `run`. Whatever goes wrong
//! becomes an error document; nothing traps.

const std = @import("std");

pub const blobs = @import("blobs.zig");
pub const failure = @import("failure.zig");
pub const index = @import("index.zig");
pub const json = @import("json.zig");
pub const memory = @import("memory.zig");
pub const numbers = @import("numbers.zig");
pub const strings = @import("strings.zig");
pub const write = @import("write.zig");
pub const Fields = @import("fields.zig").Fields;
pub const parse = @import("parse.zig");

pub const Error = failure.Error;
pub const refuse = failure.refuse;
const malformed = failure.malformed;

/// What a run answers with, where it is not refused.
pub const Answer = union(enum) {
    output: json.Value,
    effect: struct { op: []const u8, args: json.Value },
};

/// Codes of effects that may succeed when the step is tried again: nothing was done, and nothing is in doubt; of a
/// mission that failed, what is done is kept, and the rest is tried again.
const transient = [_][]const u8{
    "effect.connect_failed",
    "effect.mission_failed",
    "effect.name_not_resolved",
    "effect.overloaded",
    "effect.path_busy",
    "effect.unavailable",
};

/// The input of a run. Members of the document that are not listed here are ignored, as the ABI says.
pub const Step = struct {
    parameters: Fields,
    journal: []const json.Value,

    /// Returns what the step's one effect came to, or null where it has yet to be asked for.
    ///
    /// A failed effect ends the run with the effect's own code and message.
    pub fn outcome(self: Step) Error!?json.Value {
        if (self.journal.len == 0) return null;
        if (self.journal.len > 1) return malformed("journal: one entry is expected");
        if (self.journal[0].get("ok")) |ok| return ok;
        const fault = self.journal[0].get("error") orelse return malformed("journal: an entry has ok or error");
        failure.last = .{ .code = try textOf(fault, "code"), .message = try textOf(fault, "message") };
        for (transient) |code| {
            if (std.mem.eql(u8, failure.last.code, code)) failure.last.retryable = true;
        }
        return error.Refused;
    }
};

fn textOf(value: json.Value, comptime name: []const u8) Error![]const u8 {
    const found = value.get(name) orelse return malformed("journal: an error without " ++ name);
    return if (found.isString()) found.text() else malformed("journal: an error whose " ++ name ++ " is no string");
}

/// Returns a member of an effect's outcome, which must be there.
pub fn member(outcome: json.Value, comptime name: []const u8) Error!json.Value {
    return outcome.get(name) orelse malformed("journal: an outcome without " ++ name);
}

/// Returns the named members of an effect's outcome as an object.
pub fn pick(outcome: json.Value, comptime names: []const []const u8) Error!json.Value {
    var members: [names.len]json.Member = undefined;
    inline for (names, &members) |name, *to| to.* = .{ .key = name, .value = try member(outcome, name) };
    return json.object(&members);
}

/// Exports the three functions of the ABI; `run` is called once per `mission_run`.
pub fn exportStep(comptime run: fn (Step) Error!Answer) void {
    const abi = struct {
        fn version() callconv(.c) void {}

        fn alloc(len: u32) callconv(.c) u32 {
            const room = memory.bytes(len) catch return 0;
            return @intFromPtr(room.ptr);
        }

        fn call(ptr: u32, len: u32) callconv(.c) u64 {
            const text = answer(ptr, len) catch |problem| problemText(problem);
            return @as(u64, @intFromPtr(text.ptr)) << 32 | text.len;
        }

        fn answer(ptr: u32, len: u32) Problem![]const u8 {
            return write.text(try document(try run(try input(ptr, len))));
        }
    };
    @export(&abi.version, .{ .name = "mission_abi_v1" });
    @export(&abi.alloc, .{ .name = "mission_alloc" });
    @export(&abi.call, .{ .name = "mission_run" });
}

fn input(ptr: u32, len: u32) Error!Step {
    if (!memory.holds(ptr, len)) return malformed("the input lies outside of memory");
    const text = @as([*]const u8, @ptrFromInt(ptr))[0..len];
    const root = parse.value(text, parse.document_depth_max) catch |problem| switch (problem) {
        error.OutOfMemory => return error.OutOfMemory,
        error.Malformed => return malformed("the input is not JSON"),
    };
    const version = root.get("abi") orelse return malformed("abi: missing");
    if (!std.mem.eql(u8, version.raw, "1")) return malformed("abi: 1 is needed");
    const kind = root.get("kind") orelse return malformed("kind: missing");
    if (!std.mem.eql(u8, kind.raw, "\"step\"")) return malformed("kind: step is needed");
    const parameters = root.get("parameters") orelse return malformed("parameters: missing");
    if (parameters.data != .object) return malformed("parameters: an object is needed");
    const journal = root.get("journal") orelse return malformed("journal: missing");
    if (journal.data != .array) return malformed("journal: an array is needed");
    return .{ .parameters = .{ .members = parameters.data.object }, .journal = journal.data.array };
}

fn document(answer: Answer) memory.Error!json.Value {
    switch (answer) {
        .output => |value| return json.object(&.{.{ .key = "output", .value = value }}),
        .effect => |effect| {
            const one = try json.object(&.{
                .{ .key = "op", .value = json.string(effect.op) },
                .{ .key = "args", .value = effect.args },
            });
            return json.object(&.{.{ .key = "effects", .value = try json.array(&.{one}) }});
        },
    }
}

const Problem = Error || write.Error;

fn problemText(problem: Problem) []const u8 {
    return switch (problem) {
        error.OutOfMemory => problemDocument("memory", "the memory limit is reached"),
        error.TooDeep => problemDocument("output.too_deep", "the output is nested too deeply"),
        error.Refused => failureText() catch problemText(error.OutOfMemory),
    };
}

/// A document that needs no memory.
fn problemDocument(comptime code: []const u8, comptime message: []const u8) []const u8 {
    return "{\"error\":{\"code\":\"" ++ code ++ "\",\"message\":\"" ++ message ++ "\",\"retryable\":false}}";
}

fn failureText() memory.Error![]const u8 {
    const fault = try json.object(&.{
        .{ .key = "code", .value = json.string(failure.last.code) },
        .{ .key = "message", .value = json.string(failure.last.message) },
        .{ .key = "retryable", .value = json.boolean(failure.last.retryable) },
    });
    const root = try json.object(&.{.{ .key = "error", .value = fault }});
    return write.text(root) catch error.OutOfMemory;
}
