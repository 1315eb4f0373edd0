//! Why a run ends with an error document: the one thing that a run keeps aside while it unwinds.

const memory = @import("memory.zig");

pub const Error = memory.Error || error{Refused};

pub const Failure = struct { code: []const u8, message: []const u8, retryable: bool = false };

/// Meaningful once `error.Refused` was returned. A run is one call, so there is one.
pub var last: Failure = .{ .code = "internal", .message = "" };

/// Ends the run with an error document.
pub fn refuse(code: []const u8, message: []const u8) error{Refused} {
    last = .{ .code = code, .message = message };
    return error.Refused;
}

/// The host's input is not what the ABI says.
pub fn malformed(message: []const u8) error{Refused} {
    return refuse("abi.malformed_input", message);
}

/// The parameters are not what the step kind's schema says.
pub fn invalid(message: []const u8) error{Refused} {
    return refuse("parameters.invalid", message);
}

/// Puts `where` before the message of the refusal that is under way.
pub fn within(where: []const u8) memory.Error!void {
    const message = try memory.bytes(where.len + last.message.len);
    @memcpy(message[0..where.len], where);
    @memcpy(message[where.len..], last.message);
    last.message = message;
}
