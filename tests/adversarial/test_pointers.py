"""Where a guest says that its input may lie and that its output does: every edge, with the same end each time."""

import pytest

from engine.constraints import ExecutionConstraints
from gateway.errors import SandboxError
from gateway.sandbox.jail import compile_here
from gateway.sandbox.native import NativeCaller
from gateway.sandbox.public import PublicCaller
from gateway.sandbox.runtime import Runtime
from tests.unit.gateway.sandbox.modules import ECHO, PAGE, module, packed

END = 2 * PAGE
LIMITS = ExecutionConstraints(wall_ms_max=1_000, fuel_max=10**7, memory_bytes_max=4 * PAGE, output_bytes_max=PAGE)
LIE = "sandbox.output_invalid"
DOCUMENT = b"0123456789"

OUTPUTS: dict[str, tuple[int, int, bytes | str]] = {
    "nothing at 0": (0, 0, b""),
    "a byte at 0": (0, 1, b"\0"),
    "nothing at the end": (END, 0, b""),
    "a byte at the end": (END, 1, LIE),
    "the last byte": (END - 1, 1, b"\0"),
    "the last byte and one more": (END - 1, 2, LIE),
    "nothing past the end": (END + 1, 0, LIE),
    "nothing at the last address": (2**32 - 1, 0, LIE),
    "a byte at the last address": (2**32 - 1, 1, LIE),
    "an end of 2^32": (2**32 - 16, 16, LIE),
    "an end past 2^32": (2**32 - 16, 32, LIE),
    "everything and more": (0, 2**32 - 1, LIE),
    "all numbers the largest": (2**32 - 1, 2**32 - 1, LIE),
    "negative address": (2**31, 1, LIE),
    "negative length": (0, 2**31, LIE),
    "as much as is allowed": (0, PAGE, bytes(1024) + DOCUMENT + bytes(PAGE - 1024 - len(DOCUMENT))),
    "one more than is allowed": (0, PAGE + 1, LIE),
    "the input": (1024, len(DOCUMENT), DOCUMENT),
    "a part of the input": (1026, 3, b"234"),
    "around the input": (1023, len(DOCUMENT) + 2, b"\0" + DOCUMENT + b"\0"),
}
INPUTS: dict[str, tuple[str, bool]] = {
    "0": ("(i32.const 0)", False),
    "1": ("(i32.const 1)", True),
    "as far as it fits": (f"(i32.sub (i32.const {END}) (local.get $n))", True),
    "one further": (f"(i32.sub (i32.const {END + 1}) (local.get $n))", False),
    "the end": (f"(i32.const {END})", False),
    "the last address": ("(i32.const -1)", False),
    "so that the end wraps": ("(i32.sub (i32.const 4) (local.get $n))", False),
    "the middle of all": ("(i32.const -2147483648)", False),
    "memory that is new": (f"(drop (memory.grow (i32.const 1))) (i32.const {END})", True),
    "memory that was refused": (f"(drop (memory.grow (i32.const 60000))) (i32.const {END})", False),
    "over the code of another export": ("(drop (call $run (i32.const 1) (i32.const 1))) (i32.const 64)", True),
}


@pytest.fixture(params=[NativeCaller, PublicCaller])
def caller(request: pytest.FixtureRequest) -> type[NativeCaller | PublicCaller]:
    chosen: type[NativeCaller | PublicCaller] = request.param
    return chosen


@pytest.mark.parametrize("edge", OUTPUTS)
def test_output_is_read_where_it_is_or_not_at_all(edge: str, caller: type[NativeCaller | PublicCaller]) -> None:
    """The bytes of the guest's own memory, or a typed no; and the next call is served."""
    pointer, size, expected = OUTPUTS[edge]
    wasm = module(packed(f"(i32.const {pointer})", f"(i32.const {size})"))
    runtime = Runtime({"m": compile_here(wasm).code, "echo": compile_here(ECHO).code}, caller=caller)
    for _ in range(2):
        if isinstance(expected, bytes):
            assert runtime.run("m", DOCUMENT, LIMITS).output == expected
        else:
            with pytest.raises(SandboxError) as caught:
                runtime.run("m", DOCUMENT, LIMITS)
            assert caught.value.code == expected
        assert runtime.run("echo", b"x", LIMITS).output == b"x"


@pytest.mark.parametrize("edge", INPUTS)
def test_input_is_written_where_there_is_room_or_not_at_all(
    edge: str, caller: type[NativeCaller | PublicCaller]
) -> None:
    """An address from the guest is believed only as far as its memory goes, as it is after the call."""
    alloc, room = INPUTS[edge]
    runtime = Runtime(
        {"m": compile_here(module(packed("(local.get $p)", "(local.get $n)"), alloc=alloc)).code}, caller=caller
    )
    for _ in range(2):
        if room:
            assert runtime.run("m", DOCUMENT, LIMITS).output == DOCUMENT
        else:
            with pytest.raises(SandboxError) as caught:
                runtime.run("m", DOCUMENT, LIMITS)
            assert caught.value.code == LIE


def test_an_output_in_memory_that_grew_is_read(caller: type[NativeCaller | PublicCaller]) -> None:
    """The memory may be another one after the guest's code ran: its place and size are asked for anew."""
    grown = module(
        f"(drop (memory.grow (i32.const 1))) (i32.store8 (i32.const {3 * PAGE - 1}) (i32.const 33))"
        + packed(f"(i32.const {3 * PAGE - 1})", "(i32.const 1)")
    )
    report = Runtime({"m": compile_here(grown).code}, caller=caller).run("m", DOCUMENT, LIMITS)
    assert (report.output, report.memory_bytes) == (b"!", 3 * PAGE)


@pytest.mark.parametrize("pages", [1, 2, 3])
def test_growing_to_the_limit_is_the_same_each_time(pages: int, caller: type[NativeCaller | PublicCaller]) -> None:
    """A grow to the limit succeeds and one past it answers -1, for the same fuel, whatever was there before."""
    asking = module(
        f"(i32.store (i32.const 16) (memory.grow (i32.const {pages}))) (i32.store (i32.const 20) (memory.size))"
        + packed("(i32.const 16)", "(i32.const 8)")
    )
    runtime = Runtime({"m": compile_here(asking).code}, caller=caller)
    reports = [runtime.run("m", DOCUMENT, LIMITS) for _ in range(3)]
    fits = pages <= 2
    expected = (2 if fits else -1).to_bytes(4, "little", signed=True) + (2 + pages if fits else 2).to_bytes(4, "little")
    assert {(r.output, r.fuel_used, r.memory_bytes) for r in reports} == {
        (expected, reports[0].fuel_used, (2 + pages if fits else 2) * PAGE)
    }


def test_a_nan_has_one_pattern(caller: type[NativeCaller | PublicCaller]) -> None:
    """Arithmetic that makes a NaN makes the same bits on every machine: the canonical ones."""
    making = module(
        "(f32.store (i32.const 16) (f32.div (f32.const 0) (f32.const -0)))"
        "(f64.store (i32.const 24) (f64.sqrt (f64.const -1)))"
        "(f64.store (i32.const 32) (f64.sub (f64.const inf) (f64.const inf)))"
        "(f64.store (i32.const 40) (f64.add (f64.const -nan:0x4000000000001) (f64.const 1)))"
        "(f32.store (i32.const 20) (f32.demote_f64 (f64.const nan:0x8000000000001)))"
        + packed("(i32.const 16)", "(i32.const 32)")
    )
    output = Runtime({"m": compile_here(making).code}, caller=caller).run("m", DOCUMENT, LIMITS).output
    single, double = bytes.fromhex("0000c07f"), bytes.fromhex("000000000000f87f")
    assert output == single * 2 + double * 3
