//! A rewrite: gives back a step's parameters, or its output, as they are to be from then on.

const failure = @import("failure.zig");
const hook = @import("hook.zig");
const json = @import("json.zig");
const write = @import("write.zig");
const Fields = @import("fields.zig").Fields;

const Error = failure.Error;

/// The input of a rewrite.
pub const Rewrite = struct {
    pub const At = enum { parameters, output };

    at: At,
    /// What the site's configuration gives this hook.
    settings: Fields,
    /// Whose they are: id, name, step_type, attempt.
    step: Fields,
    /// The parameters, an object, or the output, any value.
    value: json.Value,
};

/// Exports the ABI of a rewrite; what `run` returns stands where `value` stood.
pub fn exportRewrite(comptime run: fn (Rewrite) Error!json.Value) void {
    const rewrite = struct {
        fn answer(text: []const u8) hook.Problem![]const u8 {
            const root = try hook.document(text, "rewrite");
            const given: Rewrite = .{
                .at = try hook.place(Rewrite.At, root),
                .settings = try hook.object(root, "settings"),
                .step = try hook.object(root, "step"),
                .value = undefined,
            };
            return switch (given.at) {
                .parameters => rewritten(given, root, "parameters"),
                .output => rewritten(given, root, "output"),
            };
        }

        fn rewritten(given: Rewrite, root: json.Value, comptime name: []const u8) hook.Problem![]const u8 {
            var whole = given;
            whole.value = try hook.member(root, name);
            return write.text(try json.object(&.{.{ .key = name, .value = try run(whole) }}));
        }
    };
    hook.exportText(rewrite.answer);
}
