"""A compiled module as a value, and the first byte of the jail's answer."""

from dataclasses import dataclass
from typing import Final

COMPILED: Final = b"\1"  # machine code follows
REFUSED: Final = b"\0"  # JSON [code, message] follows


@dataclass(frozen=True, slots=True)
class Artefact:
    """A module as machine code for this machine and this version of wasmtime, made by the jail."""

    code: bytes
    sha256: str  # of the WebAssembly module, hex
