"""A bundle of policy: a folder of `.manifest`, `data.json` and `*.rego`, read within bounds and vetted.

The layout is OPA's (openpolicyagent.org/docs/management-bundles), so `opa` reads the same folder with `-b`. Files
named `*_test.rego` belong to the policy's authors and are not loaded for decisions; other JSON files are documentation
(schemas). What OPA would read and this version would not is refused, never ignored.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import orjson

from engine.values import JsonObject, JsonValue
from gateway.errors import PolicyInvalidError
from gateway.policy.engine import ENTRYPOINTS, Entrypoint
from gateway.policy.vetting import Module, vet

FILES_MAX: Final = 256
FILE_BYTES_MAX: Final = 256 * 1024
DATA_BYTES_MAX: Final = 8 * 1024 * 1024
NESTING_MAX: Final = 64
INTEGER_MAX: Final = 2**53  # above it regorus and OPA compare a whole number with a float differently

_PACKAGE: Final = re.compile(r"^package\s+([a-z0-9_.]+)", re.MULTILINE)
CONFIG_ROOT: Final = ("gateway", "config")  # `data.gateway.config` in Rego: what the host reads too
_REFUSED_NAMES: Final = frozenset({"data.yaml", "data.yml", "policy.wasm", ".signatures.json", "plan.json"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A vetted bundle. `load` and `build` are its only makers, so holding one proves that vetting passed."""

    revision: str
    roots: tuple[str, ...]
    modules: tuple[Module, ...]  # by path
    document: JsonObject  # the whole of `data.json`
    digest: str  # sha256:<hex> of `packed`
    packed: bytes  # canonical JSON of all of the above; what a worker is given

    @classmethod
    def load(cls, folder: Path, *, builtins_allowed: frozenset[str] = frozenset()) -> Self:
        """Read and vet the bundle in `folder`.

        Args:
            folder: has `.manifest` and `data.json`.
            builtins_allowed: names that vetting would refuse, and that the operator answers for.

        Raises:
            PolicyInvalidError: with a code `policy.*`, the file and, for Rego, the line.
        """
        if not folder.is_dir():
            raise PolicyInvalidError("there is no such folder", code="policy.no_bundle", file=str(folder))
        modules = [Module(path, _text(folder / path, path)) for path in _rego_files(folder)]
        manifest = _json(folder / ".manifest", ".manifest")
        data = _json(folder / "data.json", "data.json")
        return cls.build(manifest=manifest, data=data, modules=modules, builtins_allowed=builtins_allowed)

    @classmethod
    def build(
        cls,
        *,
        manifest: Any,
        data: Any,
        modules: list[Module],
        builtins_allowed: frozenset[str] = frozenset(),
    ) -> Self:
        """Vet a bundle whose parts are in memory already.

        Raises:
            PolicyInvalidError: as `load`.
        """
        revision, roots = _manifest(manifest)
        if not isinstance(data, dict):
            raise PolicyInvalidError("must be an object", code="policy.bad_data", file="data.json")
        _check_value(data, 0)
        if outside := sorted(key for key in data if not any(root == "" or _under(key, root) for root in roots)):
            message = f"the key {outside[0]!r} is outside the roots of .manifest"
            raise PolicyInvalidError(message, code="policy.outside_roots", file="data.json")
        ordered = tuple(sorted(modules, key=lambda module: module.path))
        vet(ordered, roots=roots, data=data, builtins_allowed=builtins_allowed)
        packed = orjson.dumps(
            {
                "revision": revision,
                "roots": roots,
                "modules": [[module.path, module.text] for module in ordered],
                "data": data,
            },
            option=orjson.OPT_SORT_KEYS,
        )
        return cls(
            revision=revision,
            roots=roots,
            modules=ordered,
            document=data,
            digest="sha256:" + hashlib.sha256(packed).hexdigest(),
            packed=packed,
        )

    @property
    def sources(self) -> list[tuple[str, str]]:
        """(path, text) of each module."""
        return [(module.path, module.text) for module in self.modules]

    @property
    def data(self) -> JsonObject:
        """What the host reads of the data: `data.gateway.config` (profiles, networks); empty where there is none."""
        value: JsonValue = self.document
        for key in CONFIG_ROOT:
            value = value.get(key, {}) if isinstance(value, Mapping) else {}
        return value if isinstance(value, Mapping) else {}

    def missing_entrypoints(self) -> tuple[Entrypoint, ...]:
        """Return the entry points whose package no module declares: they would deny everything, as undefined."""
        declared = {package for module in self.modules for package in _PACKAGE.findall(module.text)}
        return tuple(entrypoint for entrypoint in ENTRYPOINTS if f"gateway.{entrypoint}" not in declared)


def unpack(packed: bytes) -> tuple[list[tuple[str, str]], JsonObject]:
    """Return the modules and the data of `Bundle.packed`, for an engine; they were vetted when it was made."""
    value = orjson.loads(packed)
    return [(path, text) for path, text in value["modules"]], value["data"]


def _rego_files(folder: Path) -> Iterator[str]:
    """Yield the policy files to load, relative, after a look at everything that lies in the folder."""
    seen = 0
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise PolicyInvalidError("a bundle has no symbolic links", code="policy.bad_file", file=name)
        if path.is_dir():
            continue
        seen += 1
        if seen > FILES_MAX:
            raise PolicyInvalidError(f"more than {FILES_MAX} files", code="policy.too_large", file=str(folder))
        if path.name in _REFUSED_NAMES or (path.name in {"data.json", ".manifest"} and "/" in name):
            message = "this version does not read it, and OPA would: remove it, or put all data in the root's data.json"
            raise PolicyInvalidError(message, code="policy.not_supported", file=name)
        if name.endswith(".rego") and not name.endswith("_test.rego"):
            yield name


def _text(path: Path, name: str) -> str:
    data = _bytes(path, name, FILE_BYTES_MAX)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise PolicyInvalidError("is not UTF-8", code="policy.encoding", file=name) from error


def _bytes(path: Path, name: str, maximum: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(maximum + 1)
    except OSError as error:
        raise PolicyInvalidError(error.strerror or "unreadable", code="policy.unreadable", file=name) from error
    if len(data) > maximum:
        raise PolicyInvalidError(f"is over {maximum} bytes", code="policy.too_large", file=name)
    return data


def _json(path: Path, name: str) -> Any:
    try:
        return json.loads(
            _bytes(path, name, DATA_BYTES_MAX), object_pairs_hook=_no_duplicates, parse_constant=_no_constant
        )
    except json.JSONDecodeError as error:
        raise PolicyInvalidError(error.msg, code="policy.bad_data", file=name, line=error.lineno) from error
    except (ValueError, RecursionError) as error:
        raise PolicyInvalidError(str(error), code="policy.bad_data", file=name) from error


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(n for n in names if names.count(n) > 1)!r} is there twice")
    return out


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def _manifest(value: Any) -> tuple[str, tuple[str, ...]]:
    def refuse(why: str) -> PolicyInvalidError:
        return PolicyInvalidError(why, code="policy.bad_manifest", file=".manifest")

    if not isinstance(value, dict):
        raise refuse("must be an object")
    if unknown := sorted(value.keys() - {"revision", "roots", "rego_version", "metadata"}):
        raise refuse(f"the field {unknown[0]!r} is not supported")
    if value.get("rego_version", 1) != 1:
        raise refuse("rego_version must be 1")
    revision, roots = value.get("revision", ""), value.get("roots", [""])
    if not isinstance(revision, str):
        raise refuse("revision must be a string")
    if not isinstance(roots, list) or not roots or not all(isinstance(root, str) for root in roots):
        raise refuse('roots must be a list of paths such as "gateway"')
    return revision, tuple(root.strip("/") for root in roots)


def _under(key: str, root: str) -> bool:
    return root.partition("/")[0] == key


def _check_value(value: Any, depth: int) -> None:
    """Refuse what engines would read differently: deep nesting and integers that a float cannot hold."""
    if depth > NESTING_MAX:
        raise PolicyInvalidError(f"nested over {NESTING_MAX} levels", code="policy.bad_data", file="data.json")
    if isinstance(value, dict):
        for item in value.values():
            _check_value(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_value(item, depth + 1)
    elif isinstance(value, int | float) and abs(value) > INTEGER_MAX:
        raise PolicyInvalidError(f"{value} is over 2^53", code="policy.bad_data", file="data.json")
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise PolicyInvalidError("half a surrogate pair", code="policy.bad_data", file="data.json") from error
