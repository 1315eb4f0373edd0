"""What the files of a bundle say: `.manifest`, the data document, and the modules, laid out as OPA lays them out.

What OPA would read and this gateway does not, or would read differently, is refused, never ignored.

Source: openpolicyagent.org/docs/management-bundles, "Bundle File Format"; OPA's v1/bundle/bundle.go.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from engine.values import JsonObject
from gateway.errors import PolicyInvalidError
from gateway.policy.strict_json import strict_loads
from gateway.policy.vetting import Module
from gateway.policy.yaml_data import NESTING_MAX, parse_yaml

INTEGER_MAX: Final = 2**53  # above it regorus and OPA compare a whole number with a float differently
REVISION_CHARS_MAX: Final = 256
SEQUENCE_KEY: Final = ("missiongate", "sequence")  # in the manifest's `metadata`

MANIFEST: Final = ".manifest"
SIGNATURES: Final = ".signatures.json"
_JSON_DATA: Final = "data.json"
_DATA: Final = frozenset({_JSON_DATA, "data.yaml", "data.yml"})
_REFUSED: Final = frozenset({"policy.wasm", "plan.json", "plan.pb", "patch.json"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`.manifest`, as far as it is read."""

    revision: str
    roots: tuple[str, ...]
    sequence: int | None  # metadata.missiongate.sequence: how far the bundle's author has come


def parts_of(files: Mapping[str, bytes]) -> tuple[Any, JsonObject, list[Module]]:
    """Return the manifest as JSON, the data document, and the modules that decide (`*_test.rego` do not).

    Raises:
        PolicyInvalidError: `policy.not_supported`, `policy.unreadable` (a file that a bundle needs is missing),
            `policy.bad_data`, `policy.encoding`.
    """
    for name in files:
        _check_supported(name)
    if MANIFEST not in files:
        raise PolicyInvalidError("is missing", code="policy.unreadable", file=MANIFEST)
    manifest = parse_json(files[MANIFEST], MANIFEST)
    data = _data(files)
    modules = [
        Module(name, decode(content, name))
        for name, content in files.items()
        if name.endswith(".rego") and not name.endswith("_test.rego")
    ]
    return manifest, data, modules


def _check_supported(name: str) -> None:
    folder, _, base = name.rpartition("/")
    if base in _REFUSED or name.endswith(".manifest.pb"):
        message = "this gateway does not read it, and OPA would: remove it"
    elif name.endswith(MANIFEST) and name != MANIFEST:
        message = f"OPA would take it for the bundle's {MANIFEST}"
    elif base == SIGNATURES and folder:
        message = f"OPA would take it for the bundle's {SIGNATURES}"
    elif base in _DATA and folder.startswith("."):
        message = "OPA would leave the dots at the path's beginning out of the data's path"
    else:
        return
    raise PolicyInvalidError(message, code="policy.not_supported", file=name)


def _data(files: Mapping[str, bytes]) -> JsonObject:
    """Return the data of all files, each at the path of its folder; OPA, too, lets none of them overlap."""
    document: dict[str, Any] = {}
    names = [name for name in files if name.rpartition("/")[2] in _DATA]
    if not names:
        raise PolicyInvalidError("is missing", code="policy.unreadable", file=_JSON_DATA)
    for name in names:
        parse = parse_json if name.endswith(_JSON_DATA) else parse_yaml
        value: Any = parse(files[name], name)
        check_value(value, name)
        folder = name.rpartition("/")[0]
        for part in reversed(folder.split("/") if folder else []):
            value = {part: value}
        if not isinstance(value, dict):
            raise PolicyInvalidError("must be an object", code="policy.bad_data", file=name)
        _merge(document, value, name)
    return document


def _merge(into: dict[str, Any], value: Mapping[str, Any], name: str) -> None:
    for key, item in value.items():
        there = into.get(key)
        if key not in into:
            into[key] = item
        elif isinstance(there, dict) and isinstance(item, dict):
            _merge(there, item, name)
        else:
            raise PolicyInvalidError(f"{key!r} has a value in another file", code="policy.data_conflict", file=name)


def parse_json(content: bytes, name: str, *, numbers_as: Any = None) -> Any:
    """Return a file's JSON; `numbers_as` is called with the text of each number, where it is given.

    Raises:
        PolicyInvalidError: `policy.bad_data`: another encoding than UTF-8, no JSON, a key twice, NaN, too deep.
    """
    try:
        return strict_loads(content.decode(), parse_int=numbers_as, parse_float=numbers_as or _exact)
    except json.JSONDecodeError as error:
        raise PolicyInvalidError(error.msg, code="policy.bad_data", file=name, line=error.lineno) from error
    except (ValueError, RecursionError) as error:
        raise PolicyInvalidError(str(error), code="policy.bad_data", file=name) from error


def decode(content: bytes, name: str) -> str:
    """Return a file's text.

    Raises:
        PolicyInvalidError: `policy.encoding`.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise PolicyInvalidError("is not UTF-8", code="policy.encoding", file=name) from error


def _exact(text: str) -> float:
    """Return a number with a fraction, if a float is that number: OPA keeps all digits, and regorus has floats."""
    value = float(text)
    try:
        same = Decimal(text) == Decimal(repr(value))
    except InvalidOperation:  # an exponent beyond what even Decimal has; it is no ValueError
        same = False
    if not same:
        raise ValueError(f"{text[:40]} has more digits than a float")
    return value


def manifest_of(value: Any) -> Manifest:
    """Return the manifest that a JSON value is.

    Raises:
        PolicyInvalidError: `policy.bad_manifest`.
    """
    if not isinstance(value, dict):
        raise _refused("must be an object")
    if unknown := sorted(value.keys() - {"revision", "roots", "rego_version", "metadata"}):
        raise _refused(f"the field {unknown[0]!r} is not supported")
    if value.get("rego_version", 1) != 1:
        raise _refused("rego_version must be 1")
    revision, roots = value.get("revision", ""), value.get("roots", [""])
    if not isinstance(revision, str) or len(revision) > REVISION_CHARS_MAX or not (revision + " ").isprintable():
        raise _refused(f"revision must be a string of at most {REVISION_CHARS_MAX} printable characters")
    if not isinstance(roots, list) or not roots or not all(isinstance(root, str) for root in roots):
        raise _refused('roots must be a list of paths such as "gateway"')
    check_value(roots, MANIFEST)
    trimmed = tuple(root.strip("/") for root in roots)
    for at, root in enumerate(trimmed):
        for other in trimmed[at + 1 :]:
            if _covers(root, other) or _covers(other, root):
                raise _refused(f"the roots {root!r} and {other!r} overlap")
    return Manifest(revision=revision, roots=trimmed, sequence=_sequence(value.get("metadata", {})))


def with_manifest(
    files: Mapping[str, bytes], *, revision: str | None = None, sequence: int | None = None
) -> dict[str, bytes]:
    """Return the files with another revision or sequence in `.manifest`, and all else as it is.

    Raises:
        PolicyInvalidError: `policy.bad_manifest`, `policy.bad_data`, `policy.unreadable`: there is none, or none that
            can have them.
    """
    if MANIFEST not in files:
        raise PolicyInvalidError("is missing", code="policy.unreadable", file=MANIFEST)
    value = parse_json(files[MANIFEST], MANIFEST)
    manifest_of(value)
    if revision is not None:
        value["revision"] = revision
    if sequence is not None:
        space, key = SEQUENCE_KEY
        value.setdefault("metadata", {}).setdefault(space, {})[key] = sequence
    manifest_of(value)
    return {**files, MANIFEST: json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"}


def _sequence(metadata: Any) -> int | None:
    """Return `metadata.missiongate.sequence`; what else stands there is the author's own."""
    if not isinstance(metadata, dict):
        raise _refused("metadata must be an object")
    space, key = SEQUENCE_KEY
    own = metadata.get(space, {})
    if not isinstance(own, dict) or own.keys() - {key}:
        raise _refused(f"metadata.{space} must be an object with {key} and nothing else")
    if key not in own:
        return None
    number = own[key]
    if type(number) is not int or not 0 <= number <= INTEGER_MAX:
        raise _refused(f"metadata.{space}.{key} must be a whole number from 0 to 2^53")
    return number


def _refused(why: str) -> PolicyInvalidError:
    return PolicyInvalidError(why, code="policy.bad_manifest", file=MANIFEST)


def check_roots(data: JsonObject, roots: Sequence[str]) -> None:
    """Refuse data outside the roots, as OPA does when it loads the bundle.

    Raises:
        PolicyInvalidError: `policy.outside_roots`.
    """
    for path in _outside(data, "", roots):
        message = f"the key {path!r} is outside the roots of .manifest"
        raise PolicyInvalidError(message, code="policy.outside_roots", file=_JSON_DATA)


def _outside(value: JsonObject, prefix: str, roots: Sequence[str]) -> Iterator[str]:
    for key in sorted(value):
        path, item = f"{prefix}{key}", value[key]
        if any(_covers(root, path) for root in roots):
            continue
        if isinstance(item, Mapping) and any(_covers(path, root) for root in roots):
            yield from _outside(item, f"{path}/", roots)
        else:
            yield path


def _covers(root: str, path: str) -> bool:
    return root in {"", path} or path.startswith(f"{root}/")


def check_value(value: Any, name: str, depth: int = 0) -> None:
    """Refuse what engines would read differently: deep nesting and integers that a float cannot hold.

    Raises:
        PolicyInvalidError: `policy.bad_data`.
    """
    if depth > NESTING_MAX:
        raise PolicyInvalidError(f"nested over {NESTING_MAX} levels", code="policy.bad_data", file=name)
    if isinstance(value, dict):
        for key, item in value.items():
            check_value(key, name, depth + 1)
            check_value(item, name, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_value(item, name, depth + 1)
    elif isinstance(value, int | float) and abs(value) > INTEGER_MAX:
        raise PolicyInvalidError(f"{value} is over 2^53", code="policy.bad_data", file=name)
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise PolicyInvalidError("half a surrogate pair", code="policy.bad_data", file=name) from error
