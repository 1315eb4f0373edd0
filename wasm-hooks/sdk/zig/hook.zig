//! What all kinds of hook share: the three exports of the ABI, the head of the input document, the error document.

const std = @import("std");
const failure = @import("failure.zig");
const json = @import("json.zig");
const memory = @import("memory.zig");
const parse = @import("parse.zig");
const write = @import("write.zig");
const Fields = @import("fields.zig").Fields;

const Error = failure.Error;
const malformed = failure.malformed;

/// Whatever can go wrong between the input and the bytes of the answer; each becomes an error document.
pub const Problem = Error || write.Error;

/// Exports the three functions of the ABI; `answer` turns the text of an input into that of the answer.
pub fn exportText(comptime answer: fn ([]const u8) Problem![]const u8) void {
    const abi = struct {
        fn version() callconv(.c) void {}

        fn alloc(len: u32) callconv(.c) u32 {
            const room = memory.bytes(len) catch return 0;
            return @intFromPtr(room.ptr);
        }

        fn call(ptr: u32, len: u32) callconv(.c) u64 {
            const text = run(ptr, len) catch |problem| problemText(problem);
            return @as(u64, @intFromPtr(text.ptr)) << 32 | text.len;
        }

        fn run(ptr: u32, len: u32) Problem![]const u8 {
            if (!memory.holds(ptr, len)) return malformed("the input lies outside of memory");
            return answer(@as([*]const u8, @ptrFromInt(ptr))[0..len]);
        }
    };
    @export(&abi.version, .{ .name = "mission_abi_v1" });
    @export(&abi.alloc, .{ .name = "mission_alloc" });
    @export(&abi.call, .{ .name = "mission_run" });
}

/// Returns the input document, which must be one of version 1 for a hook of that kind.
pub fn document(text: []const u8, comptime kind: []const u8) Error!json.Value {
    const root = parse.value(text, parse.document_depth_max) catch |problem| switch (problem) {
        error.OutOfMemory => return error.OutOfMemory,
        error.Malformed => return malformed("the input is not JSON"),
    };
    const version = root.get("abi") orelse return malformed("abi: missing");
    if (!std.mem.eql(u8, version.raw, "1")) return malformed("abi: 1 is needed");
    const given = root.get("kind") orelse return malformed("kind: missing");
    if (!std.mem.eql(u8, given.raw, "\"" ++ kind ++ "\"")) return malformed("kind: " ++ kind ++ " is needed");
    return root;
}

/// Returns a member of the document, which must be there.
pub fn member(root: json.Value, comptime name: []const u8) Error!json.Value {
    return root.get(name) orelse malformed(name ++ ": missing");
}

/// Returns the members of an object of the document, which must be there.
pub fn object(root: json.Value, comptime name: []const u8) Error!Fields {
    const found = try member(root, name);
    return if (found.data == .object) .{ .members = found.data.object } else malformed(name ++ ": an object is needed");
}

/// Returns what a document says of the place where the hook stands.
pub fn place(comptime At: type, root: json.Value) Error!At {
    const given = try member(root, "at");
    inline for (comptime std.meta.fieldNames(At)) |name| {
        if (std.mem.eql(u8, given.raw, "\"" ++ name ++ "\"")) return @field(At, name);
    }
    return malformed("at: no place of this kind of hook");
}

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
