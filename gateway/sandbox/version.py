"""Which engine runs modules: part of what a run is a function of, should two versions ever differ."""

from dataclasses import dataclass
from importlib.metadata import version

from engine.values import JsonObject
from gateway.sandbox.manifest import ABI_VERSION


@dataclass(frozen=True, slots=True)
class EngineVersion:
    """The WebAssembly engine and the ABI between module and host."""

    wasmtime: str
    abi: int

    def __str__(self) -> str:
        return f"wasmtime {self.wasmtime}, ABI {self.abi}"

    def document(self) -> JsonObject:
        """Return it as `gateway.started` has it."""
        return {"wasmtime": self.wasmtime, "abi": self.abi}


def engine_version() -> EngineVersion:
    """Return the version that is installed; wasmtime itself is not loaded for it."""
    return EngineVersion(version("wasmtime"), ABI_VERSION)
