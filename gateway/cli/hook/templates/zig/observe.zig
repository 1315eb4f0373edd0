//! Reports outputs that are longer lists than the site expects: 1,000 items unless its settings say more.

const mission = @import("mission");

const items_max = 1000;

comptime {
    mission.exportObserve(run);
}

fn run(observe: mission.Observe) mission.Error!void {
    try observe.settings.expect(&.{"items_max"});
    const most = try observe.settings.integer("items_max", 0, 1 << 32) orelse items_max;
    const output = try observe.member("output");
    if (output.data == .array and output.data.array.len > most) {
        return mission.refuse("output.many_items", "the output has more items than the site expects");
    }
}
