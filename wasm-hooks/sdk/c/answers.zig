//! What the kinds of hook answer with, and the outcomes of a step's effects, from C.

const mission = @import("mission");
const kept = @import("kept.zig");
const making = @import("making.zig");

const json = mission.json;
const Value = json.Value;
const set = making.mg_set;

/// `mg_step`; only its journal is read here.
const Step = extern struct { parameters: *const Value, journal: *const Value, document: *const Value };

/// `mg_limits`.
const Limits = extern struct { wall_ms_max: i64, fuel_max: i64, memory_bytes_max: i64 };

export fn mg_outcome(step: *const Step) ?*const Value {
    return outcome(mission.Step.outcome, .{journalled(step)});
}

export fn mg_outcome_at(step: *const Step, index: usize) ?*const Value {
    return outcome(mission.Step.outcomeAt, .{ journalled(step), index });
}

fn journalled(step: *const Step) mission.Step {
    return .{ .parameters = .{ .members = &.{} }, .journal = step.journal.data.array };
}

/// Calls `read`, unless the run is refused already: a refusal of its own would then be the second.
fn outcome(comptime read: anytype, arguments: anytype) ?*const Value {
    if (kept.problem != null) return null;
    const found = @call(.auto, read, arguments) catch |problem| {
        kept.problem = problem;
        return null;
    };
    return kept.made(found orelse return null);
}

export fn mg_output(value: ?*const Value) *const Value {
    return set(making.mg_object(), "output", value);
}

export fn mg_effect(op: [*:0]const u8, args: ?*const Value) *const Value {
    return mg_effects(mg_push_effect(making.mg_array(), op, args));
}

export fn mg_effects(effects: ?*const Value) *const Value {
    return set(making.mg_object(), "effects", effects);
}

export fn mg_push_effect(effects: *Value, op: [*:0]const u8, args: ?*const Value) *Value {
    const one = set(making.mg_object(), "op", text(op));
    return making.mg_push(effects, set(one, "args", args));
}

export fn mg_allow() *const Value {
    return verdict("allow");
}

export fn mg_abstain() *const Value {
    return verdict("abstain");
}

export fn mg_deny(code: [*:0]const u8, message: [*:0]const u8) *const Value {
    return mg_deny_for(mg_push_reason(making.mg_array(), code, message));
}

export fn mg_deny_for(reasons: ?*const Value) *const Value {
    return set(verdict("deny"), "reasons", reasons);
}

export fn mg_push_reason(reasons: *Value, code: [*:0]const u8, message: [*:0]const u8) *Value {
    const one = set(making.mg_object(), "code", text(code));
    return making.mg_push(reasons, set(one, "message", text(message)));
}

export fn mg_narrow(limits: Limits) *const Value {
    const narrow = making.mg_object();
    inline for (.{ "wall_ms_max", "fuel_max", "memory_bytes_max" }) |name| {
        const limit = @field(limits, name);
        if (limit > 0) _ = set(narrow, name, making.mg_integer(limit));
    }
    return set(verdict("allow"), "narrow", narrow);
}

fn verdict(word: [*:0]const u8) *Value {
    return set(making.mg_object(), "verdict", text(word));
}

fn text(plain: [*:0]const u8) *const Value {
    return kept.made(json.string(kept.name(plain)));
}
