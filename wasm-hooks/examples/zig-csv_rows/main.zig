//! csv_rows: reads a file with comma-separated values, and gives each row as an object named by the first row.
//!
//! Source: RFC 4180. Lines may also end with a line feed alone, and the last one need not end.

const std = @import("std");
const mission = @import("mission");

const json = mission.json;
const memory = mission.memory;

comptime {
    mission.exportStep(run);
}

fn run(step: mission.Step) mission.Error!mission.Answer {
    try step.parameters.expect(&.{ "path", "separator" });
    const path = try step.parameters.requireString("path");
    const separator = try step.parameters.word("separator", &.{ "comma", "semicolon", "tab" });
    const file = try step.outcome() orelse return .{ .effect = .{
        .op = "file.read",
        .args = try json.object(&.{.{ .key = "path", .value = path }}),
    } };
    const content = file.get("content") orelse return notText();
    if (!content.isString()) return notText(); // a larger one comes as a reference (abi.md)
    var reader: Reader = .{ .text = try content.text(), .separator = switch (separator[0]) {
        'c' => ',',
        's' => ';',
        else => '\t',
    } };
    const names = try reader.row() orelse return mission.refuse("csv.empty", "the file has no first row");
    if (!try distinct(names)) return mission.refuse("csv.names", "two columns have one name");
    var rows: memory.List(json.Value) = .{};
    while (try reader.row()) |row| try rows.append(try named(names, row));
    return .{ .output = try json.object(&.{
        .{ .key = "columns", .value = try json.array(names) },
        .{ .key = "rows", .value = .{ .data = .{ .array = rows.items } } },
    }) };
}

fn notText() error{Refused} {
    return mission.refuse("csv.not_text", "the file is no text of at most 64 KiB");
}

fn distinct(names: []const json.Value) mission.Error!bool {
    const members = try memory.slice(json.Member, names.len);
    for (members, names) |*to, name| to.* = .{ .key = name.data.string, .value = name };
    return mission.index.distinct(members);
}

fn named(names: []const json.Value, row: []const json.Value) mission.Error!json.Value {
    if (row.len != names.len) return mission.refuse("csv.ragged", "a row has more or fewer values than the first");
    const members = try memory.slice(json.Member, row.len);
    for (members, names, row) |*to, name, value| to.* = .{ .key = name.data.string, .value = value };
    return .{ .data = .{ .object = members } };
}

const Reader = struct {
    text: []const u8,
    separator: u8,
    at: usize = 0,

    /// Returns the values of the next row, or null at the end.
    fn row(self: *Reader) mission.Error!?[]const json.Value {
        if (self.at >= self.text.len) return null;
        var values: memory.List(json.Value) = .{};
        while (true) {
            try values.append(json.string(try self.value()));
            if (self.at < self.text.len and self.text[self.at] == self.separator) {
                self.at += 1;
                continue;
            }
            if (self.at < self.text.len and self.text[self.at] == '\r') self.at += 1;
            if (self.at < self.text.len and self.text[self.at] != '\n') {
                return mission.refuse("csv.quote", "something stands between a quoted value and the next one");
            }
            self.at += 1;
            return values.items;
        }
    }

    fn value(self: *Reader) mission.Error![]const u8 {
        if (self.at < self.text.len and self.text[self.at] == '"') return self.quoted();
        const start = self.at;
        while (self.at < self.text.len) : (self.at += 1) {
            const byte = self.text[self.at];
            if (byte == self.separator or byte == '\n') break;
            if (byte == '\r' and (self.at + 1 == self.text.len or self.text[self.at + 1] == '\n')) break;
        }
        return self.text[start..self.at];
    }

    /// Reads a value between quotes, in which two quotes stand for one.
    fn quoted(self: *Reader) mission.Error![]const u8 {
        const start = self.at + 1;
        var end = start;
        var doubled = false;
        while (true) {
            end = std.mem.indexOfScalarPos(u8, self.text, end, '"') orelse
                return mission.refuse("csv.quote", "a quoted value does not end");
            if (end + 1 == self.text.len or self.text[end + 1] != '"') break;
            doubled = true;
            end += 2;
        }
        self.at = end + 1;
        const inside = self.text[start..end];
        return if (doubled) undoubled(inside) else inside;
    }
};

fn undoubled(text: []const u8) mission.Error![]const u8 {
    const out = try memory.bytes(text.len);
    var to: usize = 0;
    var from: usize = 0;
    while (from < text.len) : (from += 1) {
        out[to] = text[from];
        to += 1;
        if (text[from] == '"') from += 1;
    }
    return out[0..to];
}
