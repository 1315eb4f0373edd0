//! spin: a module that never answers, for showing that fuel stops it.

export fn mission_abi_v1() void {}

export fn mission_alloc(_: u32) u32 {
    return 8;
}

export fn mission_run(_: u32, _: u32) u64 {
    var turns: u32 = 0;
    const seen: *volatile u32 = &turns;
    while (true) seen.* +%= 1;
}
