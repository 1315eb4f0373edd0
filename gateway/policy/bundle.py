"""A bundle of policy: `.manifest`, data and `*.rego`, read within bounds, verified where keys are given, and vetted.

The layout is OPA's (openpolicyagent.org/docs/management-bundles), so `opa` reads the same folder or archive with `-b`.
Files named `*_test.rego` belong to the policy's authors and are not loaded for decisions; other JSON files are
documentation (schemas). What OPA would read and this version would not is refused, never ignored.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

import orjson

from engine.values import JsonObject, JsonValue
from gateway.errors import PolicyInvalidError
from gateway.policy.bundle_files import read_archive, read_folder
from gateway.policy.bundle_parts import (
    MANIFEST,
    SIGNATURES,
    check_roots,
    check_value,
    manifest_of,
    parts_of,
)
from gateway.policy.determinism import depends_on_more
from gateway.policy.engine import ENTRYPOINTS, Entrypoint
from gateway.policy.reads import EVERYTHING, InputReads, Reads
from gateway.policy.rego_ast import Parse, parse_module
from gateway.policy.vetting import Module, vet

if TYPE_CHECKING:
    from gateway.policy.signatures import BundleKey


EngineName: TypeAlias = Literal["regorus", "opa"]
CONFIG_ROOT: Final = ("gateway", "config")  # `data.gateway.config` in Rego: what the host reads too

_PACKAGE: Final = re.compile(r"^package\s+([a-z0-9_.]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A vetted bundle. `from_files` and its shorthands are its only makers: holding one proves that vetting passed."""

    revision: str
    roots: tuple[str, ...]
    modules: tuple[Module, ...]  # by path
    document: JsonObject  # the whole of the data
    digest: str  # sha256:<hex> of what decides: revision, roots, texts of the modules, data; not of names of files
    packed: bytes = field(repr=False)  # canonical JSON of revision, roots, modules and data; what a worker is given
    files: Mapping[str, bytes] = field(repr=False, compare=False)  # all of them, tests and schemas too; not in `digest`
    sequence: int | None = None  # metadata.missiongate.sequence of the manifest; higher is newer
    signed_by: str | None = None  # id of the key that it was verified with
    rpc_reads: Reads = field(default=EVERYTHING, repr=False, compare=False)  # what its answers about calls depend on

    @classmethod
    def load(
        cls, folder: Path, *, engine: EngineName = "regorus", builtins_allowed: frozenset[str] = frozenset()
    ) -> Self:
        """Read and vet the bundle in `folder`; `from_files` says the rest."""
        return cls.from_files(read_folder(folder), engine=engine, builtins_allowed=builtins_allowed)

    @classmethod
    def from_archive(
        cls, archive: bytes, *, engine: EngineName = "regorus", keys: "Sequence[BundleKey] | None" = ()
    ) -> Self:
        """Read and vet the bundle in a tar.gz; `from_files` says the rest."""
        return cls.from_files(read_archive(archive), engine=engine, keys=keys)

    @classmethod
    def from_files(
        cls,
        files: Mapping[str, bytes],
        *,
        engine: EngineName = "regorus",
        keys: "Sequence[BundleKey] | None" = (),
        builtins_allowed: frozenset[str] = frozenset(),
        parse: Parse = parse_module,
    ) -> Self:
        """Verify and vet the bundle that these files are.

        Args:
            files: content by name, as `bundle_files` reads them; `.manifest` and some data are there.
            engine: what is to answer from it. For "opa" the vetting that regorus needs is left out: OPA's own
                compiler judges when it loads the bundle.
            keys: where there are any, one of them has to have signed it. Without any, a bundle that has a signature is
                refused, as nothing can be said of it. None looks at no signature: for tools of a policy's author,
                never for what decides.
            builtins_allowed: names that vetting would refuse, and that the operator answers for.
            parse: reads one file, for vetting.

        Raises:
            PolicyInvalidError: with a code `policy.*`, the file and, for Rego, the line.
        """
        signed_by: str | None = None
        if keys:
            from gateway.policy.signatures import verify  # noqa: PLC0415 - tokens take 100 ms of every start to import

            signed_by = verify(files, keys)
        elif keys is not None and SIGNATURES in files:
            message = "the bundle is signed, and no key is configured that it could be verified with"
            raise PolicyInvalidError(message, code="policy.no_key", file=SIGNATURES)
        manifest, data, modules = parts_of(files)
        return cls._made(manifest, data, modules, files, engine, builtins_allowed, signed_by, parse)

    @classmethod
    def build(
        cls,
        *,
        manifest: Any,
        data: Any,
        modules: list[Module],
        engine: EngineName = "regorus",
        builtins_allowed: frozenset[str] = frozenset(),
    ) -> Self:
        """Vet a bundle whose parts are in memory already; `files` are then made of them.

        Raises:
            PolicyInvalidError: as `from_files`.
        """
        made = cls._made(manifest, data, modules, {}, engine, builtins_allowed, None)
        files = {MANIFEST: orjson.dumps(manifest), "data.json": orjson.dumps(data)}
        files |= {module.path: module.text.encode() for module in modules}
        return replace(made, files=MappingProxyType(files))

    @classmethod
    def _made(
        cls,
        manifest: Any,
        data: Any,
        modules: list[Module],
        files: Mapping[str, bytes],
        engine: EngineName,
        builtins_allowed: frozenset[str],
        signed_by: str | None,
        parse: Parse = parse_module,
    ) -> Self:
        parsed = manifest_of(manifest)
        if not isinstance(data, dict):
            raise PolicyInvalidError("must be an object", code="policy.bad_data", file="data.json")
        check_value(data, "data.json")
        check_roots(data, parsed.roots)
        ordered = tuple(sorted(modules, key=lambda module: module.path))
        reads = EVERYTHING
        if engine == "regorus":
            vetted = vet(ordered, roots=parsed.roots, data=data, builtins_allowed=builtins_allowed, parse=parse)
            reads = InputReads(vetted, data).of("rpc")
        texts = [[module.path, module.text] for module in ordered]
        content = {"revision": parsed.revision, "roots": parsed.roots, "data": data}
        named = {**content, "modules": sorted(module.text for module in ordered)}
        return cls(
            revision=parsed.revision,
            roots=parsed.roots,
            modules=ordered,
            document=data,
            digest="sha256:" + hashlib.sha256(orjson.dumps(named, option=orjson.OPT_SORT_KEYS)).hexdigest(),
            packed=orjson.dumps({**content, "modules": texts}, option=orjson.OPT_SORT_KEYS),
            files=MappingProxyType(dict(files)),
            sequence=parsed.sequence,
            signed_by=signed_by,
            rpc_reads=reads,
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

    @property
    def deterministic(self) -> bool:
        """Whether its decisions follow from its content and the document alone, so that one may be kept and used."""
        return not depends_on_more(module.text for module in self.modules)

    def missing_entrypoints(self) -> tuple[Entrypoint, ...]:
        """Return the entry points whose package no module declares: they would deny everything, as undefined."""
        declared = {package for module in self.modules for package in _PACKAGE.findall(module.text)}
        return tuple(entrypoint for entrypoint in ENTRYPOINTS if f"gateway.{entrypoint}" not in declared)


def unpack(packed: bytes) -> tuple[list[tuple[str, str]], JsonObject]:
    """Return the modules and the data of `Bundle.packed`, for an engine; they were vetted when it was made."""
    value = orjson.loads(packed)
    return [(path, text) for path, text in value["modules"]], value["data"]
