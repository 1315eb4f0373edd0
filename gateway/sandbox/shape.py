"""What a module imports and exports, and whether that is ABI version 1; read from bytes, or from a compiled module.

Reading bytes takes a *validated* module (so that every index and length is sound) and no compiler: a module that is
refused for its shape never reaches one. Source: WebAssembly core specification 2.0, 5.5 "Modules".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wasmtime import FuncType, MemoryType, Module

from engine.constraints.limits import MEMORY_BYTES_CEILING
from gateway.sandbox.call import ALLOC_EXPORT, INITIALIZE_EXPORT, MEMORY_EXPORT, RUN_EXPORT
from gateway.sandbox.constraints import MEMORY_PAGE_BYTES

MARKER_EXPORT: Final = "mission_abi_v1"
EXPORTS_MAX: Final = 1024
REQUIRED_EXPORTS: Final[Mapping[str, str]] = {
    MEMORY_EXPORT: "memory",
    MARKER_EXPORT: "() -> ()",
    ALLOC_EXPORT: "(i32) -> (i32)",
    RUN_EXPORT: "(i32 i32) -> (i64)",
}
OPTIONAL_EXPORTS: Final[Mapping[str, str]] = {INITIALIZE_EXPORT: "() -> ()"}

_VALUE_TYPES: Final = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x70: "funcref", 0x6F: "externref"}
_TYPE, _IMPORT, _FUNCTION, _MEMORY, _EXPORT = 1, 2, 3, 5, 7
_HEADER_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Violation:
    """Why a module is none of ours."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Shape:
    """Imports by name, exports by name with the text of their type ("memory", "(i32) -> (i32)", "other")."""

    imports: tuple[str, ...]
    exports: Mapping[str, str]
    memory_bytes_min: int

    def violation(self) -> Violation | None:
        """Return the first rule of registration that this shape breaks, or None."""
        if self.imports:
            return Violation("hook.import", f"the module imports {self.imports[0]!r}; it may import nothing")
        for name, expected in REQUIRED_EXPORTS.items():
            if name not in self.exports:
                return Violation("hook.export_missing", f"the module does not export {name!r}")
            if self.exports[name] != expected:
                return Violation("hook.export_type", f"the export {name!r} must be {expected}")
        for name, expected in OPTIONAL_EXPORTS.items():
            if self.exports.get(name, expected) != expected:
                return Violation("hook.export_type", f"the export {name!r} must be {expected}")
        if self.memory_bytes_min > MEMORY_BYTES_CEILING:
            return Violation(
                "hook.memory",
                f"the module needs {self.memory_bytes_min} bytes of memory, over {MEMORY_BYTES_CEILING}",
            )
        return None


def shape_of(module: Module) -> Shape:
    """Return the shape of a compiled module, as wasmtime sees it."""
    exports: dict[str, str] = {}
    memory_bytes_min = 0
    for export in module.exports:
        kind = export.type
        if isinstance(kind, FuncType):
            exports[export.name] = _signature([str(t) for t in kind.params], [str(t) for t in kind.results])
        elif isinstance(kind, MemoryType):
            exports[export.name] = "memory"
            memory_bytes_min = max(memory_bytes_min, kind.limits.min * MEMORY_PAGE_BYTES)
        else:
            exports[export.name] = "other"
    return Shape(tuple(f"{i.module}.{i.name}" for i in module.imports), exports, memory_bytes_min)


def read_shape(wasm: bytes) -> Shape:
    """Return the shape of a validated module.

    Raises:
        ValueError: more than `EXPORTS_MAX` exports.
        IndexError: the bytes end early; not for a validated module.
    """
    sections = _sections(wasm)
    imports = _first_import(sections.get(_IMPORT))
    if imports:
        return Shape(imports, {}, 0)
    types = [_signature(*_function_type(reader)) for reader in _each(sections.get(_TYPE))]
    functions = [reader.u32() for reader in _each(sections.get(_FUNCTION))]
    memory_pages = [_memory_pages(reader) for reader in _each(sections.get(_MEMORY))]
    exports: dict[str, str] = {}
    for reader in _each(sections.get(_EXPORT), EXPORTS_MAX):
        name, kind, index = reader.name(), reader.byte(), reader.u32()
        exports[name] = types[functions[index]] if kind == 0 else "memory" if kind == 2 else "other"  # noqa: PLR2004
    return Shape(imports, exports, max(memory_pages, default=0) * MEMORY_PAGE_BYTES)


class _Reader:
    """A place in the bytes."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data, self._at = data, at

    def more(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        value = self._data[self._at]
        self._at += 1
        return value

    def u32(self) -> int:
        """Read a LEB128 number; a validated one is canonical enough to fit."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the continuation bit
                return value
            shift += 7

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            raise IndexError("the module ends early")
        self._at += size
        return taken

    def name(self) -> str:
        return self.take(self.u32()).decode("utf-8", "backslashreplace")


def _sections(wasm: bytes) -> dict[int, _Reader]:
    """Return the sections by id, the last of each; custom ones (0) may come often and mean nothing."""
    reader, sections = _Reader(wasm, _HEADER_BYTES), dict[int, _Reader]()
    while reader.more():
        kind = reader.byte()
        sections[kind] = _Reader(reader.take(reader.u32()))
    return sections


def _each(section: _Reader | None, maximum: int | None = None) -> Iterator[_Reader]:
    """Yield the section's reader once for each entry that it announces; the caller reads exactly one entry."""
    count = section.u32() if section is not None else 0
    if maximum is not None and count > maximum:
        raise ValueError(f"more than {maximum} names")
    for _ in range(count):
        if section is not None:
            yield section


def _first_import(section: _Reader | None) -> tuple[str, ...]:
    """Return the first import, if any: one is enough to refuse, so the rest is not read."""
    for reader in _each(section):
        return (f"{reader.name()}.{reader.name()}",)
    return ()


def _function_type(reader: _Reader) -> tuple[list[str], list[str]]:
    reader.byte()  # 0x60
    params = [_VALUE_TYPES.get(reader.byte(), "other") for _ in range(reader.u32())]
    return params, [_VALUE_TYPES.get(reader.byte(), "other") for _ in range(reader.u32())]


def _memory_pages(reader: _Reader) -> int:
    flags, pages = reader.byte(), reader.u32()
    if flags & 1:
        reader.u32()
    return pages


def _signature(params: Sequence[str], results: Sequence[str]) -> str:
    return f"({' '.join(params)}) -> ({' '.join(results)})"
