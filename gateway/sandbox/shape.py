"""What a module imports and exports, and whether that is ABI version 1; read from bytes, or from a compiled module.

Reading bytes takes a *validated* module (so that every index and length is sound) and no compiler: a module that is
refused for its shape never reaches one. Source: WebAssembly core specification 2.0, 5.5 "Modules".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wasmtime import FuncType, MemoryType, Module

from engine.constraints.limits import MEMORY_BYTES_CEILING
from gateway.sandbox import wasi
from gateway.sandbox.call import ALLOC_EXPORT, INITIALIZE_EXPORT, MEMORY_EXPORT, RUN_EXPORT
from gateway.sandbox.constraints import MEMORY_PAGE_BYTES

MARKER_EXPORT: Final = "mission_abi_v1"
OTHER: Final = "other"
NAME_BYTES_MAX: Final = 1024
SECTIONS_MAX: Final = 1024  # custom ones included
TYPES_MAX: Final = 16_384
IMPORTS_MAX: Final = 256
FUNCTIONS_MAX: Final = 32_768
MEMORIES_MAX: Final = 1
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
_FUNCTION_TYPE: Final = 0x60
_U32_BITS: Final = 32
_SHOWN_CHARS: Final = 200  # of a name, in a message


@dataclass(frozen=True, slots=True)
class Violation:
    """Why a module is none of ours."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Import:
    """What a module wants from outside."""

    name: str  # "module.field"
    type: str  # "(i32) -> (i32)", "other"

    def violation(self) -> Violation | None:
        """Return the rule that it breaks: it is a function of the WASI shim, of exactly its type, or is refused."""
        module, _, field = self.name.partition(".")
        function = wasi.FUNCTIONS.get(field) if module == wasi.MODULE else None
        if function is None:
            only = f"it may import only functions of {wasi.MODULE}"
            return Violation("hook.import", f"the module imports {self.name[:_SHOWN_CHARS]!r}; {only}")
        if self.type != function.type:
            return Violation("hook.import_type", f"the import {self.name!r} must be {function.type}")
        return None


@dataclass(frozen=True, slots=True)
class Shape:
    """Imports in order, exports by name with the text of their type ("memory", "(i32) -> (i32)", "other")."""

    imports: tuple[Import, ...]
    exports: Mapping[str, str]
    memory_bytes_min: int

    def violation(self) -> Violation | None:
        """Return the first rule of registration that this shape breaks, or None."""
        for item in self.imports:
            if (violation := item.violation()) is not None:
                return violation
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
    imports = list[Import]()
    for item in module.imports:
        imports.append(Import(f"{item.module}.{item.name}", _type_of(item.type)))
        if not isinstance(item.type, FuncType):
            return Shape(tuple(imports), {}, 0)
    exports = {export.name: _type_of(export.type) for export in module.exports}
    memories = [export.type for export in module.exports if isinstance(export.type, MemoryType)]
    pages = max((memory.limits.min for memory in memories), default=0)
    return Shape(tuple(imports), exports, pages * MEMORY_PAGE_BYTES)


def _type_of(kind: object) -> str:
    if isinstance(kind, FuncType):
        return _signature([str(t) for t in kind.params], [str(t) for t in kind.results])
    return "memory" if isinstance(kind, MemoryType) else OTHER


def read_shape(wasm: bytes) -> Shape:
    """Return the shape of a validated module. One that imports what is no function has no further shape than that.

    Raises:
        ValueError: more sections, types, functions or names than a hook has, a name that is too long, or bytes that
            are no module after all.
    """
    try:
        return _read(_sections(wasm))
    except IndexError as error:
        raise ValueError("the module ends early, or names what it does not have") from error


def _read(sections: "Mapping[int, _Reader]") -> Shape:
    types = [_signature(*_function_type(r)) for r in _each(sections.get(_TYPE), TYPES_MAX, "types")]
    imports, functions = list[Import](), list[int]()
    for reader in _each(sections.get(_IMPORT), IMPORTS_MAX, "imports"):
        name = f"{reader.name()}.{reader.name()}"
        if reader.byte() != 0:
            return Shape((*imports, Import(name, OTHER)), {}, 0)
        functions.append(reader.u32())
        imports.append(Import(name, types[functions[-1]]))
    functions += [reader.u32() for reader in _each(sections.get(_FUNCTION), FUNCTIONS_MAX, "functions")]
    memory_pages = [_memory_pages(reader) for reader in _each(sections.get(_MEMORY), MEMORIES_MAX, "memories")]
    exports: dict[str, str] = {}
    for reader in _each(sections.get(_EXPORT), EXPORTS_MAX, "exports"):
        name, kind, index = reader.name(), reader.byte(), reader.u32()
        exports[name] = types[functions[index]] if kind == 0 else "memory" if kind == 2 else OTHER  # noqa: PLR2004
    return Shape(tuple(imports), exports, max(memory_pages, default=0) * MEMORY_PAGE_BYTES)


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
        """Read a LEB128 number of at most five bytes."""
        value = 0
        for shift in range(0, _U32_BITS, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the continuation bit
                return value
        raise ValueError("a number has more than 32 bits")

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            raise IndexError("the module ends early")
        self._at += size
        return taken

    def name(self) -> str:
        size = self.u32()
        if size > NAME_BYTES_MAX:
            raise ValueError(f"a name has more than {NAME_BYTES_MAX} bytes")
        try:
            return self.take(size).decode()
        except UnicodeDecodeError as error:
            raise ValueError("a name is no UTF-8") from error


def _sections(wasm: bytes) -> dict[int, _Reader]:
    """Return the sections by id, the last of each; custom ones (0) may come often and mean nothing."""
    reader, sections, count = _Reader(wasm, _HEADER_BYTES), dict[int, _Reader](), 0
    while reader.more():
        if (count := count + 1) > SECTIONS_MAX:
            raise ValueError(f"the module has more than {SECTIONS_MAX} sections")
        kind = reader.byte()
        sections[kind] = _Reader(reader.take(reader.u32()))
    return sections


def _each(section: _Reader | None, maximum: int, what: str) -> Iterator[_Reader]:
    """Yield the section's reader once for each entry that it announces; the caller reads exactly one entry."""
    count = section.u32() if section is not None else 0
    if count > maximum:
        raise ValueError(f"the module has more than {maximum} {what}")
    for _ in range(count):
        if section is not None:
            yield section


def _function_type(reader: _Reader) -> tuple[list[str], list[str]]:
    if reader.byte() != _FUNCTION_TYPE:
        raise ValueError("a type is none of a function")
    params = [_VALUE_TYPES.get(kind, OTHER) for kind in reader.take(reader.u32())]
    return params, [_VALUE_TYPES.get(kind, OTHER) for kind in reader.take(reader.u32())]


def _memory_pages(reader: _Reader) -> int:
    flags, pages = reader.byte(), reader.u32()
    if flags & 1:
        reader.u32()
    return pages


def _signature(params: Sequence[str], results: Sequence[str]) -> str:
    return f"({' '.join(params)}) -> ({' '.join(results)})"
