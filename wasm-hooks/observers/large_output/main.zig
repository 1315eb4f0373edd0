//! large_output: reports outputs whose JSON has more bytes than the site's settings allow.

const mission = @import("mission");

comptime {
    mission.exportObserve(run);
}

fn run(observe: mission.Observe) mission.Error!void {
    try observe.settings.expect(&.{"bytes_max"});
    const most = try observe.settings.integer("bytes_max", 1, 1 << 32) orelse
        return mission.failure.invalid("bytes_max: missing");
    const output = try observe.member("output");
    if (output.raw.len > most) return mission.refuse("over_limit", "the output is larger than the site expects");
}
