"""Modules that mean harm, in the text format or as bytes, and what each must meet."""

from tests.unit.gateway.sandbox.modules import PAGE, answering, module, packed

_NOTHING = packed("(i32.const 0)", "(i32.const 0)")


def compile_bomb(width: int = 30_000) -> bytes:
    """Return a valid module of under 1 MB for which a compiler needs memory in the square of `width`.

    Every local changes in one loop, and every `br_if` to its head passes all of them on.
    """
    locals_ = " ".join(["i32"] * width)
    changes = " ".join(f"(local.set {n} (i32.add (local.get {n}) (i32.const 1)))" for n in range(width))
    jumps = "(br_if $l (local.get 0)) " * width
    return module(_NOTHING, extra=f"(func (local {locals_}) (loop $l {changes} {jumps}))")


ALLOC_LOOP = module(_NOTHING, alloc="(loop $l (br $l)) (unreachable)")
START_LOOP = module(_NOTHING, extra="(func $s (loop $l (br $l)))", start="(start $s)")
INITIALIZE_LOOP = module(_NOTHING, extra='(func (export "_initialize") (loop $l (br $l)))')
START_TRAP = module(_NOTHING, extra="(func $s (unreachable))", start="(start $s)")
RECURSION = module("(call $run (local.get $p) (local.get $n))")
UNREACHABLE = module("(unreachable)")
DIVISION = module("(i64.extend_i32_u (i32.div_u (i32.const 1) (i32.const 0)))")
OUT_OF_BOUNDS = module("(i64.extend_i32_u (i32.load (i32.const -4)))")
BAD_SIGNATURE = module(
    "(call_indirect (result i64) (i32.const 0))", extra="(table 1 funcref) (elem (i32.const 0) func $run)"
)
# Grows page by page until that is refused, then gives up.
MEMORY_BOMB = module(
    "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (unreachable)", memory="1"
)
# The same, but says in the ABI's words what happened.
MEMORY_REPORTED = answering(
    '{"error":{"code":"memory","message":"no memory left"}}',
    memory="80",
)
CLAIMS_TOO_MUCH = module(_NOTHING, memory="160")  # 10 MiB: over the profile, under what a worker has
GROW_REFUSED = module(
    "(if (i32.eq (memory.grow (i32.const 60000)) (i32.const -1))"
    f"(then (return {packed('(local.get $p)', '(local.get $n)')}))) (unreachable)"
)
OUTPUT_PAST_THE_END = module(packed(f"(i32.const {2 * PAGE - 1})", "(i32.const 2)"))
OUTPUT_FAR_AWAY = module("(i64.const -1)")
OUTPUT_WRAPS = module(packed("(i32.const -1)", "(i32.const 2)"))
OUTPUT_TOO_LARGE = module(packed("(i32.const 0)", f"(i32.const {20 * PAGE})"), memory="20")
ALLOC_NULL = module(_NOTHING, alloc="(i32.const 0)")
ALLOC_PAST_THE_END = module(_NOTHING, alloc=f"(i32.const {2 * PAGE})")
ALLOC_NEGATIVE = module(_NOTHING, alloc="(i32.const -1)")

# Grows a table until that is refused, then gives up: tables have a limit of their own, beside the memory's.
TABLE_BOMB = module(
    "(loop $l (br_if $l (i32.ne (table.grow (ref.null func) (i32.const 1000)) (i32.const -1)))) (unreachable)",
    extra="(table 1 funcref)",
)
FULL_TABLES = module("(unreachable)", extra="(table 10000 funcref)" * 4)
DATA_PAST_THE_END = module(_NOTHING, extra=f'(data (i32.const {2 * PAGE - 2}) "abc")')
ELEMENTS_PAST_THE_END = module(_NOTHING, extra="(table 1 funcref) (elem (i32.const 1) func $run)")
START_BOMB = module(
    _NOTHING,
    extra="(func $s (loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (unreachable))",
    start="(start $s)",
)

BULK = {
    "memory.fill": "(memory.fill (i32.const 0) (i32.const 1) (i32.const 5242880))",
    "memory.copy": "(memory.copy (i32.const 0) (i32.const 1) (i32.const 5242879))",
    "memory.init": "(memory.init 0 (i32.const 0) (i32.const 0) (i32.const 60000))",
    "table.fill": "(table.fill (i32.const 0) (ref.null func) (i32.const 10000))",
    "table.copy": "(table.copy (i32.const 0) (i32.const 1) (i32.const 9999))",
    "table.grow": "(drop (table.grow (ref.null func) (i32.const 0)))",
    "memory.grow": "(drop (memory.grow (i32.const 60000)))",
}


def bulk(operation: str) -> bytes:
    """Return a module that does one operation of `BULK`, on all that there is, again and again."""
    extra = f'(table 10000 funcref) (data "{"a" * 60_000}")'
    return module(f"(loop $l {operation} (br $l)) (unreachable)", memory="80", extra=extra)


RUNS = {
    "alloc loop": (ALLOC_LOOP, "constraint.cpu_exceeded"),
    "start loop": (START_LOOP, "constraint.cpu_exceeded"),
    "_initialize loop": (INITIALIZE_LOOP, "constraint.cpu_exceeded"),
    "run loop": (module("(loop $l (br $l)) (unreachable)"), "constraint.cpu_exceeded"),
    "start trap": (START_TRAP, "sandbox.trap"),
    "recursion": (RECURSION, "sandbox.trap"),
    "unreachable": (UNREACHABLE, "sandbox.trap"),
    "division by zero": (DIVISION, "sandbox.trap"),
    "load out of bounds": (OUT_OF_BOUNDS, "sandbox.trap"),
    "wrong signature": (BAD_SIGNATURE, "sandbox.trap"),
    "memory bomb": (MEMORY_BOMB, "constraint.memory_exceeded"),
    "memory reported": (MEMORY_REPORTED, "constraint.memory_exceeded"),
    "table bomb": (TABLE_BOMB, "sandbox.trap"),
    "full tables": (FULL_TABLES, "sandbox.trap"),
    "data past the end": (DATA_PAST_THE_END, "sandbox.trap"),
    "elements past the end": (ELEMENTS_PAST_THE_END, "sandbox.trap"),
    "memory bomb at the start": (START_BOMB, "sandbox.trap"),  # no instance came of it whose memory could be asked
    "memory claimed": (CLAIMS_TOO_MUCH, "constraint.memory_exceeded"),
    "output past the end": (OUTPUT_PAST_THE_END, "sandbox.output_invalid"),
    "output far away": (OUTPUT_FAR_AWAY, "sandbox.output_invalid"),
    "output wraps": (OUTPUT_WRAPS, "sandbox.output_invalid"),
    "output too large": (OUTPUT_TOO_LARGE, "sandbox.output_invalid"),
    "alloc null": (ALLOC_NULL, "sandbox.output_invalid"),
    "alloc past the end": (ALLOC_PAST_THE_END, "sandbox.output_invalid"),
    "alloc negative": (ALLOC_NEGATIVE, "sandbox.output_invalid"),
}
"""Name: module that is accepted, and the code of what running it under the profile `wasm` gives."""
