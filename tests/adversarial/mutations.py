"""Damaged modules by the thousand: a seeded mutator, and a worker that puts what it makes to the rules of registration.

`serve` is an entry for workers with the limits and the system calls of the compiler's jail: whatever the bytes do, they
do it there.
"""

import hashlib
import struct
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Sequence

import orjson
from wasmtime import Engine, Module, WasmtimeError

from gateway.errors import HookRefusedError
from gateway.sandbox.compile import check_bytes
from gateway.sandbox.engine import make_engine
from gateway.sandbox.hooks import builtin_hooks
from gateway.sandbox.jail import examine
from gateway.sandbox.shape import read_shape, shape_of
from tests.adversarial.hostile_modules import RUNS
from tests.adversarial.wasm_bytes import leb
from tests.unit.gateway.sandbox.modules import ECHO, answering

COMPILED_ONE_IN = 16  # of the cases, where they are accepted: compiling takes milliseconds
_LARGE_ONE_IN = 16  # of the cases are made of a module that a compiler made
_SMALL_BYTES_MAX = 4096
_LARGE = [hook.module for hook in builtin_hooks()]  # with the import: a worker that is locked down opens no file


class Chance:
    """Numbers of a seed: the same everywhere and in every version of Python."""

    def __init__(self, seed: int, case: int) -> None:
        self._key = struct.pack("<QQ", seed, case)
        self._at = 0

    def below(self, end: int) -> int:
        self._at += 1
        digest = hashlib.blake2b(struct.pack("<Q", self._at), key=self._key, digest_size=8).digest()
        return int.from_bytes(digest, "little") % max(end, 1)


def flipped(wasm: bytes, chance: Chance, _other: bytes) -> bytes:
    """Flip a few bits."""
    damaged = bytearray(wasm)
    for _ in range(1 + chance.below(3)):
        damaged[chance.below(len(damaged))] ^= 1 << chance.below(8)
    return bytes(damaged)


def truncated(wasm: bytes, chance: Chance, _other: bytes) -> bytes:
    """End early."""
    return wasm[: chance.below(len(wasm))]


def overwritten(wasm: bytes, chance: Chance, _other: bytes) -> bytes:
    """Put a value that means much in its place: a largest number, a type, a section's number."""
    value = (b"\xff", b"\x7f", b"\x80\x80\x80\x80\x10", b"\xff\xff\xff\xff\x0f", b"\0")[chance.below(5)]
    at = chance.below(len(wasm))
    return wasm[:at] + value + wasm[at + len(value) :]


def inserted(wasm: bytes, chance: Chance, other: bytes) -> bytes:
    """Push a piece of another module in between."""
    at, start = chance.below(len(wasm)), chance.below(len(other))
    return wasm[:at] + other[start : start + 1 + chance.below(32)] + wasm[at:]


def removed(wasm: bytes, chance: Chance, _other: bytes) -> bytes:
    """Take a piece out."""
    at = chance.below(len(wasm))
    return wasm[:at] + wasm[at + 1 + chance.below(16) :]


def spliced(wasm: bytes, chance: Chance, other: bytes) -> bytes:
    """Go on as another module."""
    return wasm[: chance.below(len(wasm))] + other[chance.below(len(other)) :]


def swapped(wasm: bytes, chance: Chance, other: bytes) -> bytes:
    """Reorder, repeat, drop or borrow a section."""
    sections = _sections(wasm)
    at, to = chance.below(len(sections)), chance.below(len(sections))
    match chance.below(4):
        case 0:
            sections[at], sections[to] = sections[to], sections[at]
        case 1:
            sections.insert(to, sections[at])
        case 2:
            del sections[at]
        case _:
            others = _sections(other)
            sections[at] = others[chance.below(len(others))]
    return wasm[:8] + b"".join(sections)


def overlong(wasm: bytes, chance: Chance, _other: bytes) -> bytes:
    """Write a section's size in more bytes than it needs, or say another size."""
    sections = _sections(wasm)
    at = chance.below(len(sections))
    content = _content(sections[at])
    lie = chance.below(3)
    size = len(content) if lie else len(content) + chance.below(9) - 4
    sections[at] = sections[at][:1] + leb(max(size, 0), 2 + chance.below(6)) + content
    return wasm[:8] + b"".join(sections)


MUTATORS: Sequence[Callable[[bytes, Chance, bytes], bytes]] = (
    *(flipped,) * 5,  # most of what comes out of the others is no module at all
    truncated,
    overwritten,
    inserted,
    removed,
    spliced,
    swapped,
    overlong,
)


def _sections(wasm: bytes) -> list[bytes]:
    """Return the sections of a sound module, with their headers."""
    sections, at = [], 8
    while at < len(wasm):
        size, start = _size(wasm, at + 1)
        sections.append(wasm[at : start + size])
        at = start + size
    return sections


def _content(section: bytes) -> bytes:
    return section[_size(section, 1)[1] :]


def _size(data: bytes, at: int) -> tuple[int, int]:
    size = shift = 0
    while True:
        size |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return size, at


class Bench:
    """An engine, the modules to damage, and what became of the cases."""

    def __init__(self, seed: int, engine: Engine) -> None:
        self._seed = seed
        self._engine = engine
        modules = [ECHO, answering('{"output":1}'), *(wasm for wasm, _ in RUNS.values())]
        self._small = [wasm for wasm in modules if len(wasm) <= _SMALL_BYTES_MAX]
        self._record = hashlib.sha256()
        self.compiled: dict[str, bytes] = {}
        self.counts = Counter[str]()

    @classmethod
    def of(cls, seed: int) -> "Bench":
        """Return one with an engine of its own."""
        return cls(seed, make_engine())

    def damaged(self, case: int) -> bytes:
        """Return the bytes of a case."""
        chance = Chance(self._seed, case)
        bases = self._small if chance.below(_LARGE_ONE_IN) else _LARGE
        wasm, other = bases[chance.below(len(bases))], self._small[chance.below(len(self._small))]
        for _ in range(1 + chance.below(2)):
            wasm = MUTATORS[chance.below(len(MUTATORS))](wasm, chance, other)
            if len(wasm) < len(ECHO) or chance.below(2):
                break  # also since a mutator of sections takes a module that is sound
            try:
                _sections(wasm)[0]
            except IndexError:
                break
        return wasm

    def judge(self, case: int) -> None:
        """Put a case to the rules; only their own errors may come out. Some of the accepted are compiled as well."""
        wasm = self.damaged(case)
        try:
            check_bytes(wasm)
            violation = examine(self._engine, wasm)
            outcome = violation.code if violation is not None else "accepted"
        except HookRefusedError as refused:
            outcome = refused.code
        if outcome == "accepted" and case % COMPILED_ONE_IN == 0 and len(wasm) <= _SMALL_BYTES_MAX:
            try:
                self.compiled[str(case)] = self._compile(wasm)
            except WasmtimeError as error:  # more tables than a worker has room for: the jail's refusal as well
                if "does not fit in pooling allocator" not in str(error):
                    raise
                outcome = "hook.invalid"
        self._record.update(outcome.encode() + b"\n")
        self.counts[outcome] += 1

    def _compile(self, wasm: bytes) -> bytes:
        compiled = Module(self._engine, wasm)
        if shape_of(compiled) != read_shape(wasm):
            raise RuntimeError("the compiler sees another module than the rules did")
        return bytes(compiled.serialize())

    def digest(self) -> str:
        return self._record.hexdigest()


def serve(_config: bytes, _fds: tuple[int, ...]) -> Callable[[bytes], bytes]:
    """Build the handler: `[seed, first, count]` in.

    Out come counts by outcome, a digest of all outcomes in order, and what was compiled, by case.
    """
    engine = make_engine()

    def handle(request: bytes) -> bytes:
        seed, first, count = orjson.loads(request)
        bench = Bench(seed, engine)
        for case in range(first, first + count):
            bench.judge(case)
        compiled = {case: b64encode(code).decode() for case, code in bench.compiled.items()}
        return orjson.dumps({"counts": bench.counts, "digest": bench.digest(), "compiled": compiled})

    return handle
