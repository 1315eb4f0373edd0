"""Where a hook is to run, as an operator asks for it: checked before anything else is done."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.errors import HookRefusedError
from gateway.hookset import ActiveHook
from gateway.sandbox.hooks import Hook

ORDER_MAX: Final = 1_000_000  # either way from 0
SETTINGS_BYTES_MAX: Final = 16 * 1024  # of one hook, as JSON
STEP_TYPES_MAX: Final = 64
LABELS_MAX: Final = 16
LABEL_CHARS_MAX: Final = 256

NO_SETTINGS: Final = b"{}"
_STEP_TYPE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """An order, a scope, and what the site gives the hook. An empty scope is everything.

    Raises:
        HookRefusedError: `hook.placement`, over a bound or not of its form; `field` says which part.
    """

    order: int = 0
    step_types: Sequence[str] = ()
    labels: Mapping[str, str]
    profile: str | None = None  # instead of the one that the hook names
    settings: bytes = NO_SETTINGS  # JSON, an object

    def __post_init__(self) -> None:
        """Check every part."""
        if not -ORDER_MAX <= self.order <= ORDER_MAX:
            raise _refused("order", f"must be from -{ORDER_MAX} to {ORDER_MAX}")
        if len(self.step_types) > STEP_TYPES_MAX or len(set(self.step_types)) != len(self.step_types):
            raise _refused("step_types", f"must be at most {STEP_TYPES_MAX}, each once")
        for step_type in self.step_types:
            if not _STEP_TYPE.fullmatch(step_type):
                raise _refused("step_types", "must be step types as manifests spell them")
        if len(self.labels) > LABELS_MAX:
            raise _refused("labels", f"must be at most {LABELS_MAX}")
        for text in (*self.labels, *self.labels.values()):
            if not 1 <= len(text) <= LABEL_CHARS_MAX or not text.isprintable():
                raise _refused("labels", f"must have 1 to {LABEL_CHARS_MAX} printable characters each")

    def of(self, hook: Hook) -> ActiveHook:
        """Return the hook in its place.

        Raises:
            HookRefusedError: `hook.placement`, a step has none: missions say where it runs.
        """
        own = self.order or self.step_types or self.labels or self.profile or self.settings != NO_SETTINGS
        if hook.kind == "step" and own:
            rule = "a step has no order, scope, profile or settings of its own: missions say where and how it runs"
            raise _refused("step_types", rule)
        return ActiveHook(
            hook=hook,
            profile=self.profile,
            order=self.order,
            step_types=frozenset(self.step_types),
            labels=dict(self.labels),
            settings=self.settings,
        )


def settings_bytes(settings: Mapping[str, Any]) -> bytes:
    """Return what a site gives a hook, as JSON.

    Raises:
        HookRefusedError: `hook.placement`, it is none, since a date or a NaN is in it, or too large.
    """
    try:
        packed = orjson.dumps(settings, option=orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME)
    except TypeError as error:
        raise _refused("settings", f"must be JSON: {error}") from error
    if orjson.loads(packed) != settings:
        raise _refused("settings", "must be JSON: a number is not finite")
    if len(packed) > SETTINGS_BYTES_MAX:
        raise _refused("settings", f"must have at most {SETTINGS_BYTES_MAX} bytes as JSON")
    return packed


def _refused(field: str, rule: str) -> HookRefusedError:
    return HookRefusedError(f"{field}: {rule}", code="hook.placement", field=field)
