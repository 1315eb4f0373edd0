"""Modules that are small to send and large to read or compile: the same answer each time, within the jail's bounds."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.errors import HookRefusedError
from gateway.sandbox.compile import compile_module
from gateway.sandbox.pool import PRELOAD
from gateway.sandbox.shape import EXPORTS_MAX, FUNCTIONS_MAX, IMPORTS_MAX, NAME_BYTES_MAX, SECTIONS_MAX, TYPES_MAX
from gateway.workers.supervisor import Zygote
from tests.adversarial.wasm_bytes import (
    BLOCK,
    BR_TABLE,
    DATA,
    DROP,
    END,
    I32_CONST,
    IMPORT,
    MAGIC,
    TYPE,
    code,
    custom,
    hook,
    leb,
    name,
    section,
    vector,
)
from tests.depth import some, times

pytestmark = pytest.mark.asyncio(loop_scope="module")  # the zygote's

ZERO = I32_CONST + b"\0"
LOOP = b"\x03\x40"
YIELD = name(b"wasi_snapshot_preview1") + name(b"sched_yield") + b"\0\0"
AT_ZERO = b"\0" + ZERO + END


def jump_table(targets: int) -> bytes:
    return code(BLOCK + ZERO + BR_TABLE + leb(targets) + bytes(targets + 1) + END)


REFUSED = {
    "a function too large": (hook([code((ZERO + DROP) * 2_600_000)]), "hook.invalid"),
    "four billion locals": (hook([code(b"", leb(1) + leb(4_000_000_000) + b"\x7f")]), "hook.invalid"),
    "a jump table of a million": (hook([jump_table(1_000_000)]), "hook.invalid"),
    "nested blocks": (hook([code(BLOCK * 1_000_000 + END * 1_000_000)]), "hook.compile_exceeded"),
    "nested loops": (hook([code(LOOP * 200_000 + END * 200_000)]), "hook.compile_exceeded"),
    "too many functions": (hook([code(b"")] * FUNCTIONS_MAX), "hook.invalid"),
    "too many types": (MAGIC + section(TYPE, vector([b"\x60\0\0"] * (TYPES_MAX + 1))), "hook.invalid"),
    "too many imports": (
        MAGIC + section(TYPE, vector([b"\x60\0\1\x7f"])) + section(IMPORT, vector([YIELD] * (IMPORTS_MAX + 1))),
        "hook.invalid",
    ),
    "too many exports": (
        hook(exports=[name(b"%d" % n) + b"\0\0" for n in range(EXPORTS_MAX - 3)]),
        "hook.invalid",
    ),
    "too many sections": (hook(before=custom() * SECTIONS_MAX), "hook.invalid"),
    "a name too long": (hook(exports=[name(b"n" * 100_000) + b"\0\0"]), "hook.invalid"),
    "a name longer than that": (hook(exports=[name(b"n" * 100_001) + b"\0\0"]), "hook.invalid"),
    "a name that is no text": (hook(exports=[name(b"\xff\xfe") + b"\0\0"]), "hook.invalid"),
    "the same export twice": (hook(exports=[name(b"memory") + b"\0\0"]), "hook.invalid"),
    "4 GiB of memory": (hook(memory=b"\0" + leb(65_536)), "hook.memory"),
    "a number of six bytes": (hook(memory=b"\0" + leb(2, 6)), "hook.invalid"),
    "a start function with a parameter": (hook() + section(8, b"\1"), "hook.invalid"),
}
ACCEPTED = {
    "nothing": hook(),
    "a number of five bytes": hook(memory=b"\0" + leb(2, 5)),
    "many locals": hook([code(b"", leb(1) + leb(49_000) + b"\x7f")]),
    "large jump tables": hook([jump_table(60_000)] * 20),
    "thousands of functions": hook([code(b"")] * 4_000),
    "a large custom section": hook(before=custom(b"\xff" * 7_000_000)),
    "a large data segment": hook(memory=b"\0" + leb(128)) + section(DATA, vector([AT_ZERO + name(b"d" * 7_000_000)])),
    "a hundred thousand data segments": hook() + section(DATA, vector([AT_ZERO + name(b"d")] * 100_000)),
    "a name as long as may be": hook(exports=[name(b"n" * NAME_BYTES_MAX) + b"\0\0"]),
    "as many exports as may be": hook(exports=[name(b"%d" % n) + b"\0\0" for n in range(EXPORTS_MAX - 4)]),
}

TWICE = ("nothing", "a number of five bytes", "many locals", "a large data segment")  # in `make test`


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def zygote() -> AsyncIterator[Zygote]:
    """Start one for all: whatever a module does to its jail, the next is compiled by the same zygote."""
    zygote = await Zygote.start(PRELOAD)
    yield zygote
    await zygote.close()


@pytest.mark.parametrize(
    "bomb", [pytest.param(bomb, marks=pytest.mark.long) if bomb == "nested loops" else bomb for bomb in REFUSED]
)
async def test_a_bomb_is_refused_with_its_code(bomb: str, zygote: Zygote) -> None:
    """And the next module compiles: the jail that met its bounds was that module's own. In `make fuzz`, twice."""
    wasm, expected = REFUSED[bomb]
    for _ in range(times(1, 2)):
        with pytest.raises(HookRefusedError) as caught:
            await compile_module(zygote, wasm)
        assert caught.value.code == expected
    assert (await compile_module(zygote, hook())).code


@pytest.mark.parametrize("module", ACCEPTED)
async def test_what_is_large_and_sound_is_accepted(module: str, zygote: Zygote) -> None:
    """The bounds are those of hooks: a large module within them compiles, to the same machine code each time."""
    first = await compile_module(zygote, ACCEPTED[module])
    assert first.code
    if module in some(TWICE, list(ACCEPTED)):
        assert await compile_module(zygote, ACCEPTED[module]) == first
