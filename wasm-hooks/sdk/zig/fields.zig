//! Typed access to the members of an object; whatever does not fit is refused with `parameters.invalid`.

const std = @import("std");
const failure = @import("failure.zig");
const json = @import("json.zig");
const numbers = @import("numbers.zig");

const Error = failure.Error;
const invalid = failure.invalid;

pub const Fields = struct {
    members: []const json.Member,

    /// Refuses members whose names are not listed.
    pub fn expect(self: Fields, comptime names: []const []const u8) Error!void {
        next: for (self.members) |member| {
            inline for (names) |name| {
                if (std.mem.eql(u8, member.key, name)) continue :next;
            }
            return invalid("an unknown field; the known ones: " ++ comptime list(names));
        }
    }

    pub fn get(self: Fields, comptime name: []const u8) ?json.Value {
        for (self.members) |member| {
            if (std.mem.eql(u8, member.key, name)) return member.value;
        }
        return null;
    }

    pub fn require(self: Fields, comptime name: []const u8) Error!json.Value {
        return self.get(name) orelse invalid(name ++ ": missing");
    }

    /// Returns a string as the value it is, so that it can be passed on unchanged, or null where it is not given.
    pub fn string(self: Fields, comptime name: []const u8) Error!?json.Value {
        const value = self.get(name) orelse return null;
        return if (value.isString()) value else invalid(name ++ ": a string is needed");
    }

    pub fn requireString(self: Fields, comptime name: []const u8) Error!json.Value {
        return try self.string(name) orelse invalid(name ++ ": missing");
    }

    pub fn requireArray(self: Fields, comptime name: []const u8) Error![]const json.Value {
        const value = try self.require(name);
        return if (value.data == .array) value.data.array else invalid(name ++ ": an array is needed");
    }

    /// Returns an array of strings as the value it is, or null where it is not given.
    pub fn strings(self: Fields, comptime name: []const u8, least: usize, most: usize) Error!?json.Value {
        const value = self.get(name) orelse return null;
        if (value.data != .array) return invalid(name ++ ": an array of strings is needed");
        for (value.data.array) |item| {
            if (!item.isString()) return invalid(name ++ ": an array of strings is needed");
        }
        const len = value.data.array.len;
        return if (len >= least and len <= most) value else invalid(name ++ ": too few or too many");
    }

    /// Returns which of `words` a string is; the first where it is not given.
    pub fn word(self: Fields, comptime name: []const u8, comptime words: []const []const u8) Error![]const u8 {
        const value = try self.string(name) orelse return words[0];
        const given = try value.text();
        inline for (words) |known| {
            if (std.mem.eql(u8, given, known)) return known;
        }
        return invalid(name ++ ": one of these is needed: " ++ comptime list(words));
    }

    /// Returns an integer within bounds, both included, or null where it is not given.
    pub fn integer(self: Fields, comptime name: []const u8, least: i64, most: i64) Error!?i64 {
        const value = self.get(name) orelse return null;
        const found = if (value.data == .number) numbers.whole(value.raw) else null;
        const whole = found orelse return invalid(name ++ ": an integer is needed");
        return if (whole >= least and whole <= most) whole else invalid(name ++ ": out of range");
    }

    pub fn boolean(self: Fields, comptime name: []const u8, default: bool) Error!bool {
        const value = self.get(name) orelse return default;
        return if (value.data == .boolean) value.data.boolean else invalid(name ++ ": true or false is needed");
    }
};

fn list(comptime words: []const []const u8) []const u8 {
    comptime var all: []const u8 = words[0];
    inline for (words[1..]) |word| all = all ++ ", " ++ word;
    return all;
}
