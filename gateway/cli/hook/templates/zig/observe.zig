//! Reports outputs that are longer lists than the site expects.

const mission = @import("mission");

comptime {
    mission.exportObserve(run);
}

fn run(observe: mission.Observe) mission.Error!void {
    try observe.settings.expect(&.{"items_max"});
    const most = try observe.settings.integer("items_max", 0, 1 << 32) orelse
        return mission.failure.invalid("items_max: missing");
    const output = try observe.member("output");
    if (output.data == .array and output.data.array.len > most) {
        return mission.refuse("output.many_items", "the output has more items than the site expects");
    }
}
