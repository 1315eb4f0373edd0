//! The SDK of hooks in Zig: pure functions of their input, exported under version 1 of the hook ABI (abi.md).
//!
//! A step is a file that says `comptime { mission.exportStep(run); }` and has a function `run`; `exportScreen`,
//! `exportRewrite` and `exportObserve` are for the other kinds. Whatever goes wrong becomes an error document; nothing
//! traps.

const std = @import("std");

pub const blobs = @import("blobs.zig");
pub const failure = @import("failure.zig");
/// For an SDK that is built upon this one.
pub const hook = @import("hook.zig");
pub const index = @import("index.zig");
pub const json = @import("json.zig");
pub const memory = @import("memory.zig");
pub const numbers = @import("numbers.zig");
pub const strings = @import("strings.zig");
pub const write = @import("write.zig");
pub const Fields = @import("fields.zig").Fields;
pub const parse = @import("parse.zig");

const observing = @import("observe.zig");
const rewriting = @import("rewrite.zig");
const screening = @import("screen.zig");

pub const Observe = observing.Observe;
pub const exportObserve = observing.exportObserve;
pub const Rewrite = rewriting.Rewrite;
pub const exportRewrite = rewriting.exportRewrite;
pub const Narrow = screening.Narrow;
pub const Reason = screening.Reason;
pub const Screen = screening.Screen;
pub const Verdict = screening.Verdict;
pub const deny = screening.deny;
pub const exportScreen = screening.exportScreen;
pub const exportTextScreen = screening.exportTextScreen;

pub const Error = failure.Error;
pub const refuse = failure.refuse;
const malformed = failure.malformed;

/// What a run answers with, where it is not refused.
pub const Answer = union(enum) {
    output: json.Value,
    effect: Effect,
    /// A batch of at least one: it is performed in order, and the step run again with the outcomes in its journal.
    effects: []const Effect,
};

/// One effect that is asked for; the manifest has to declare `op`.
pub const Effect = struct { op: []const u8, args: json.Value };

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
        if (self.journal.len > 1) return malformed("journal: one entry is expected");
        return self.outcomeAt(0);
    }

    /// Returns what the effect of that index, from 0, came to, or null where it has not been performed yet.
    pub fn outcomeAt(self: Step, at: usize) Error!?json.Value {
        if (at >= self.journal.len) return null;
        if (self.journal[at].get("ok")) |ok| return ok;
        const fault = self.journal[at].get("error") orelse return malformed("journal: an entry has ok or error");
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

/// Exports the ABI of a step; `run` is called once per `mission_run`.
pub fn exportStep(comptime run: fn (Step) Error!Answer) void {
    const step = struct {
        fn answer(text: []const u8) hook.Problem![]const u8 {
            return write.text(try document(try run(try input(text))));
        }
    };
    hook.exportText(step.answer);
}

fn input(text: []const u8) Error!Step {
    const root = try hook.document(text, "step");
    const parameters = try hook.object(root, "parameters");
    const journal = try hook.member(root, "journal");
    if (journal.data != .array) return malformed("journal: an array is needed");
    return .{ .parameters = parameters, .journal = journal.data.array };
}

fn document(answer: Answer) memory.Error!json.Value {
    return switch (answer) {
        .output => |value| json.object(&.{.{ .key = "output", .value = value }}),
        .effect => |effect| batch(&.{effect}),
        .effects => |effects| batch(effects),
    };
}

fn batch(effects: []const Effect) memory.Error!json.Value {
    const list = try memory.slice(json.Value, effects.len);
    for (list, effects) |*to, effect| to.* = try json.object(&.{
        .{ .key = "op", .value = json.string(effect.op) },
        .{ .key = "args", .value = effect.args },
    });
    return json.object(&.{.{ .key = "effects", .value = .{ .data = .{ .array = list } } }});
}
