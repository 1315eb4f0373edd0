"""The files of a bundle as its author has them, broken ones included: rules, tests, data, schemas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import orjson

from engine.values import JsonObject
from gateway.policy.vetting import Module

TEST_SUFFIX: Final = "_test.rego"


@dataclass(frozen=True)
class Sources:
    """The files of one bundle by path, byte for byte. What is not UTF-8 is not among the modules."""

    files: Mapping[str, bytes]

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        """The files that decisions come from, by path."""
        return tuple(module for module in self._rego if not module.path.endswith(TEST_SUFFIX))

    @cached_property
    def tests(self) -> tuple[Module, ...]:
        """The files of tests, by path."""
        return tuple(module for module in self._rego if module.path.endswith(TEST_SUFFIX))

    @cached_property
    def _rego(self) -> tuple[Module, ...]:
        out = []
        for path, data in sorted(self.files.items()):
            if path.endswith(".rego"):
                try:
                    out.append(Module(path, data.decode()))
                except UnicodeDecodeError:
                    continue
        return tuple(out)

    def line(self, path: str, number: int | None) -> str:
        """Return one line of a file, without its break; "" where there is none."""
        if number is None or path not in self.files:
            return ""
        lines = self.files[path].decode("utf-8", "replace").split("\n")
        return lines[number - 1] if 0 < number <= len(lines) else ""


def packed(modules: Sequence[Module], data: JsonObject, *, coverage: bool = False) -> bytes:
    """Return what an author's worker is given: modules that were vetted, and the data beside them."""
    return orjson.dumps(
        {"modules": [[module.path, module.text] for module in modules], "data": data, "coverage": coverage}
    )


def unpacked(config: bytes) -> tuple[list[tuple[str, str]], JsonObject, bool]:
    """Undo `packed`."""
    value = orjson.loads(config)
    return [(path, text) for path, text in value["modules"]], value["data"], value["coverage"]
