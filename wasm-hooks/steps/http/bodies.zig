//! Bodies of HTTP messages: strings are themselves, other values travel as JSON.

const std = @import("std");
const mission = @import("mission");
const json = mission.json;

const content_type = "content-type";

pub const Sent = struct { headers: json.Value, body: json.Value };

/// Returns a request's body as a string, and its headers with the content type of JSON where the body became JSON.
pub fn sent(body: json.Value, headers: json.Value) mission.Error!Sent {
    if (body.isString() or mission.blobs.isReference(body)) return .{ .headers = headers, .body = body };
    const text = json.string(body.raw);
    for (headers.data.object) |header| {
        if (std.ascii.eqlIgnoreCase(header.key, content_type)) return .{ .headers = headers, .body = text };
    }
    var members: mission.memory.List(json.Member) = .{};
    for (headers.data.object) |header| try members.append(header);
    try members.append(.{ .key = content_type, .value = json.string("application/json") });
    return .{ .headers = try json.object(members.items), .body = text };
}

/// Returns a response's body: the value where it is JSON and says so, else the string; base64 where it is no text, a
/// reference where it is large.
pub fn received(outcome: json.Value, headers: json.Value) mission.Error!json.Member {
    if (outcome.get("body_base64")) |bytes| return .{ .key = "body_base64", .value = bytes };
    const body = try mission.member(outcome, "body");
    if (mission.blobs.isReference(body)) return .{ .key = "body", .value = body };
    if (!body.isString()) return mission.failure.malformed("journal: a body that is no string");
    if (!try saysJson(headers)) return .{ .key = "body", .value = body };
    const value = mission.parse.value(try body.text(), mission.parse.text_depth_max) catch |problem| switch (problem) {
        error.OutOfMemory => return error.OutOfMemory,
        error.Malformed => return .{ .key = "body", .value = body },
    };
    return .{ .key = "body", .value = value };
}

/// Whether the content type is application/json or ends in +json, whatever its parameters (RFC 9110, 8.3; RFC 6839).
fn saysJson(headers: json.Value) mission.Error!bool {
    const value = headers.get(content_type) orelse return false;
    if (!value.isString()) return false;
    const text = try value.text();
    const end = std.mem.findScalar(u8, text, ';') orelse text.len;
    const essence = std.mem.trim(u8, text[0..end], " \t");
    return std.ascii.eqlIgnoreCase(essence, "application/json") or std.ascii.endsWithIgnoreCase(essence, "+json");
}
