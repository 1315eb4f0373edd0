"""A hook's manifest, hook.toml: every field known, typed and bounded, or the hook is refused.

Source: wasm-hooks/abi.md, "The folder of a hook".
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import HookRefusedError

MANIFEST_BYTES_MAX: Final = 64 * 1024
_DOTS_MAX: Final = 512  # of all names and values; the parser takes seconds for one key of thousands of parts
EFFECTS_MAX: Final = 64
ABI_VERSION: Final = 1
KINDS: Final = ("step", "screen", "rewrite", "observe")
PLACES: Final = {  # what `at` may say, by kind; a step is where its mission puts it
    "screen": ("mission", "step"),
    "rewrite": ("parameters", "output"),
    "observe": ("mission", "step", "output"),
}

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_VERSION: Final = re.compile(r"(?:0|[1-9][0-9]{0,5})(?:\.(?:0|[1-9][0-9]{0,5})){2}")
_EFFECT: Final = re.compile(r"[a-z][a-z0-9_]{0,31}\.[a-z][a-z0-9_]{0,31}")
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a hook says of itself."""

    name: str  # of a step, the step type that it implements
    version: str  # major.minor.patch
    abi: int
    kind: str
    profile: str  # of gateway.sandbox.profile, or of policy data
    effects: tuple[str, ...] = ()  # all that a step may ask for; the other kinds ask for nothing
    schema: str | None = None  # a file beside the manifest; of a step alone, since the others take no parameters
    at: str | None = None  # one of PLACES; None for a step
    sha256: str | None = None  # the module's pin, lower-case hex


def parse_manifest(data: bytes) -> Manifest:
    """Return the manifest, or refuse it for the first rule that it breaks.

    Raises:
        HookRefusedError: `hook.manifest_syntax`, `hook.unknown_field`, `hook.missing_field`, `hook.wrong_type`,
            `hook.bad_value`; `field` names the field.
    """
    fields = _read(data)
    if unknown := sorted(set(fields) - set(_CHECKS)):
        raise _refused("unknown_field", unknown[0], f"is not a field; there are {', '.join(_CHECKS)}")
    for name in _CHECKS:
        if name not in fields and name not in _OF_SOME:
            raise _refused("missing_field", name, "is missing")
    for name, value in fields.items():
        _CHECKS[name](name, value)
    _check_of_kind(fields)
    return Manifest(**{**fields, "effects": tuple(fields.get("effects", ()))})


def _check_of_kind(fields: dict[str, Any]) -> None:
    """Apply the rules that depend on the kind: what a step must say the others must not, and the other way round."""
    kind = fields["kind"]
    if kind == "step":
        if "at" in fields:
            raise _refused("bad_value", "at", "a step has no such field: its mission says where it runs")
        for name in ("effects", "schema"):
            if name not in fields:
                raise _refused("missing_field", name, "is missing")
        return
    if "at" not in fields:
        raise _refused("missing_field", "at", f"is missing; a {kind} is at {' or '.join(PLACES[kind])}")
    if fields["at"] not in PLACES[kind]:
        raise _refused("bad_value", "at", f"must be one of {', '.join(PLACES[kind])} for a {kind}")
    if "schema" in fields:
        raise _refused("bad_value", "schema", f"a {kind} takes no parameters, so it has no schema")
    if fields.get("effects"):
        raise _refused("bad_value", "effects", f"a {kind} asks for no effects")


def _read(data: bytes) -> dict[str, Any]:
    if len(data) > MANIFEST_BYTES_MAX:
        raise _refused("manifest_syntax", "", f"the manifest has more than {MANIFEST_BYTES_MAX} bytes")
    if data.count(b".") > _DOTS_MAX:
        raise _refused("manifest_syntax", "", f"the manifest has more than {_DOTS_MAX} dots")
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # syntax, encoding; nesting
        raise _refused("manifest_syntax", "", f"the manifest is not TOML: {str(error)[:256]}") from error


def _matches(pattern: re.Pattern[str], rule: str) -> Callable[[str, object], None]:
    """Return a check for a string of that form."""

    def check(name: str, value: object) -> None:
        if not isinstance(value, str):
            raise _refused("wrong_type", name, "must be a string")
        if not pattern.fullmatch(value):
            raise _refused("bad_value", name, f"must be {rule}")

    return check


def _check_abi(name: str, value: object) -> None:
    if type(value) is not int:
        raise _refused("wrong_type", name, "must be an integer")
    if value != ABI_VERSION:
        raise _refused("bad_value", name, f"must be {ABI_VERSION}, the only version of the ABI")


def _check_kind(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise _refused("wrong_type", name, "must be a string")
    if value not in KINDS:
        raise _refused("bad_value", name, f"must be one of {', '.join(KINDS)}")


def _check_effects(name: str, value: object) -> None:
    if not isinstance(value, list):
        raise _refused("wrong_type", name, "must be an array of strings")
    if len(value) > EFFECTS_MAX:
        raise _refused("bad_value", name, f"has more than {EFFECTS_MAX} entries")
    for index, effect in enumerate(value):
        _check_effect(f"{name}[{index}]", effect)
    if len(set(value)) != len(value):
        raise _refused("bad_value", name, "names an effect twice")


_check_effect: Final = _matches(_EFFECT, "two words with a dot between them, such as file.write")
_CHECKS: Final[dict[str, Callable[[str, object], None]]] = {
    "name": _matches(_NAME, "a lower-case identifier of at most 64 characters"),
    "version": _matches(_VERSION, "three numbers with dots between them"),
    "abi": _check_abi,
    "kind": _check_kind,
    "profile": _matches(_NAME, "the name of a profile"),
    "effects": _check_effects,
    "schema": _matches(_FILE, "the name of a file in the same folder"),
    "at": _matches(_NAME, "where it runs"),
    "sha256": _matches(_SHA256, "64 hexadecimal digits in lower case"),
}
_OF_SOME: Final = frozenset({"effects", "schema", "at", "sha256"})  # optional, or a matter of the kind


def _refused(rule: str, field: str, message: str) -> HookRefusedError:
    return HookRefusedError(f"{field}: {message}" if field else message, code=f"hook.{rule}", field=field)
