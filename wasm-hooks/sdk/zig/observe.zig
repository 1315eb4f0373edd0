//! An observer: looks at what has been allowed, or at an output. Nothing that it answers changes anything; an error
//! that it reports is counted, and its code recorded.

const failure = @import("failure.zig");
const hook = @import("hook.zig");
const json = @import("json.zig");
const Fields = @import("fields.zig").Fields;

const Error = failure.Error;

/// The input of an observer.
pub const Observe = struct {
    pub const At = enum { mission, step, output };

    at: At,
    /// What the site's configuration gives this hook.
    settings: Fields,
    /// The whole document (abi.md).
    document: json.Value,

    /// Returns a member of the document, which must be there.
    pub fn member(self: Observe, comptime name: []const u8) Error!json.Value {
        return hook.member(self.document, name);
    }
};

/// Exports the ABI of an observer.
pub fn exportObserve(comptime run: fn (Observe) Error!void) void {
    const observe = struct {
        fn answer(text: []const u8) hook.Problem![]const u8 {
            const root = try hook.document(text, "observe");
            try run(.{
                .at = try hook.place(Observe.At, root),
                .settings = try hook.object(root, "settings"),
                .document = root,
            });
            return "{}";
        }
    };
    hook.exportText(observe.answer);
}
