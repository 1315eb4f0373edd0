//! What the C side keeps while a run goes on after a refusal, and how its types look to C.

const std = @import("std");
const mission = @import("mission");
const json = mission.json;
const memory = mission.memory;

/// What ends the run, once something has; `failure.last` says more of a refusal. The first one stays.
pub var problem: ?mission.Error = null;

/// The value null, which stands wherever there is no other.
pub const nothing: json.Value = .{ .raw = "null", .data = .null };

/// `mg_text`.
pub const Text = extern struct {
    bytes: [*]const u8,
    len: usize,

    pub fn of(text: []const u8) Text {
        return .{ .bytes = text.ptr, .len = text.len };
    }

    pub fn slice(self: Text) []const u8 {
        return if (self.len == 0) "" else self.bytes[0..self.len];
    }
};

/// Returns a text of C.
pub fn name(text: [*:0]const u8) []const u8 {
    return std.mem.sliceTo(text, 0);
}

/// Refuses the run, unless it is refused already.
pub fn refuse(code: []const u8, message: []const u8, retryable: bool) void {
    if (problem != null) return;
    mission.failure.last = .{ .code = code, .message = message, .retryable = retryable };
    problem = error.Refused;
}

/// Refuses the run with a message of several parts.
pub fn refuseWith(code: []const u8, parts: []const []const u8) void {
    if (problem != null) return;
    refuse(code, joined(parts) catch return exhausted(), false);
}

pub fn invalid(parts: []const []const u8) void {
    refuseWith("parameters.invalid", parts);
}

pub fn malformed(parts: []const []const u8) void {
    refuseWith("abi.malformed_input", parts);
}

/// Ends the run for want of memory.
pub fn exhausted() void {
    if (problem == null) problem = error.OutOfMemory;
}

fn joined(parts: []const []const u8) memory.Error![]const u8 {
    var len: usize = 0;
    for (parts) |part| len += part.len;
    const out = try memory.bytes(len);
    var at: usize = 0;
    for (parts) |part| {
        @memcpy(out[at..][0..part.len], part);
        at += part.len;
    }
    return out;
}

/// Returns a value as one that lasts.
pub fn value(of: json.Value) memory.Error!*const json.Value {
    return &(try memory.copy(json.Value, &.{of}))[0];
}

/// Returns a value as one that lasts, or null's where there is no memory.
pub fn made(of: json.Value) *json.Value {
    const room = memory.copy(json.Value, &.{of}) catch {
        exhausted();
        return &shared;
    };
    return &room[0];
}

/// Where values go when the run has no memory left: what is written here counts no more.
var shared: json.Value = nothing;
