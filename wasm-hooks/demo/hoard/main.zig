//! hoard: a module that takes all memory there is, for showing that the limit holds.

const mission = @import("mission");

comptime {
    mission.exportStep(run);
}

/// Takes memory until it is refused, which the SDK reports as the ABI says, with code `memory`.
fn run(_: mission.Step) mission.Error!mission.Answer {
    while (true) {
        const page = try mission.memory.bytes(64 * 1024);
        page[0] = 1;
    }
}
