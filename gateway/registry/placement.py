"""Where a hook is to run, as an operator asks for it: checked before anything else is done."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.errors import HookRefusedError
from gateway.hookset import ActiveHook
from gateway.sandbox.hooks import Hook

ORDER_MAX: Final = 1_000_000
STEP_TYPES_MAX: Final = 64
LABELS_MAX: Final = 16
LABEL_CHARS_MAX: Final = 256

_STEP_TYPE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """An order and a scope. An empty scope is everything.

    Raises:
        HookRefusedError: `hook.placement`, over a bound or not of its form; `field` says which part.
    """

    order: int = 0
    step_types: Sequence[str] = ()
    labels: Mapping[str, str]

    def __post_init__(self) -> None:
        """Check every part."""
        if not 0 <= self.order <= ORDER_MAX:
            raise _refused("order", f"must be from 0 to {ORDER_MAX}")
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
        if hook.kind == "step" and (self.order or self.step_types or self.labels):
            raise _refused("step_types", "a step has neither order nor scope: missions say where it runs")
        return ActiveHook(hook=hook, order=self.order, step_types=frozenset(self.step_types), labels=dict(self.labels))


def _refused(field: str, rule: str) -> HookRefusedError:
    return HookRefusedError(f"{field}: {rule}", code="hook.placement", field=field)
