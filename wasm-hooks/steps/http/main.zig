//! http: one HTTP exchange. Any status is an output, unless `fail_on_status` says otherwise.

const std = @import("std");
const mission = @import("mission");
const bodies = @import("bodies.zig");
const json = mission.json;

const methods = [_][]const u8{ "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" };
const timeout_ms_default = 10_000;
const timeout_ms_max = 30_000;
const failing_status = 400;

comptime {
    mission.exportStep(run);
}

fn run(step: mission.Step) mission.Error!mission.Answer {
    const fields = step.parameters;
    try fields.expect(&.{ "method", "url", "headers", "body", "timeout_ms", "fail_on_status" });
    const request = try arguments(fields);
    const fails = try fields.boolean("fail_on_status", false);
    const outcome = try step.outcome() orelse
        return .{ .effect = .{ .op = "http.request", .args = request } };
    const status = try mission.member(outcome, "status");
    if (status.data != .number) return mission.failure.malformed("journal: a status that is no number");
    if (fails and (mission.numbers.whole(status.raw) orelse failing_status) >= failing_status) return failed(status);
    const headers = try mission.member(outcome, "headers");
    return .{ .output = try json.object(&.{
        .{ .key = "status", .value = status },
        .{ .key = "headers", .value = headers },
        try bodies.received(outcome, headers),
    }) };
}

fn arguments(fields: mission.Fields) mission.Error!json.Value {
    const method = try fields.word("method", &methods);
    const timeout_ms = try fields.integer("timeout_ms", 1, timeout_ms_max) orelse timeout_ms_default;
    const headers = fields.get("headers") orelse json.empty;
    if (headers.data != .object) return mission.failure.invalid("headers: an object is needed");
    for (headers.data.object) |header| {
        if (!header.value.isString()) return mission.failure.invalid("headers: the values are strings");
    }
    var members: mission.memory.List(json.Member) = .{};
    try members.append(.{ .key = "method", .value = json.string(method) });
    try members.append(.{ .key = "url", .value = try fields.requireString("url") });
    if (fields.get("body")) |body| {
        const sent = try bodies.sent(body, headers);
        try members.append(.{ .key = "headers", .value = sent.headers });
        try members.append(.{ .key = "body", .value = sent.body });
    } else {
        try members.append(.{ .key = "headers", .value = headers });
    }
    try members.append(.{ .key = "timeout_ms", .value = try json.integer(timeout_ms) });
    return json.object(members.items);
}

fn failed(status: json.Value) mission.Error {
    mission.refuse("http.status", status.raw) catch {};
    try mission.failure.within("the server answered with status ");
    return error.Refused;
}
