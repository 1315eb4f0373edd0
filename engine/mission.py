"""A mission as values: what a client asks for, parsed, before anything is decided.

Source: data-model document, sections Mission and MissionStep. `engine.loader` is the only maker of a `Plan`
(`engine.plan`), so a function that takes a `Plan` gets a mission whose every rule has been checked.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import orjson

from engine.retry import RetryPolicy
from engine.values import JsonObject, JsonValue

NESTING_MAX = 128  # levels that any configuration may allow; some readers recurse
PRIORITY_MAX = 9
PRIORITY_DEFAULT = 5


class Strategy(StrEnum):
    """In which order ready steps start; the results of a mission do not depend on it."""

    SEQUENTIAL = "sequential"  # one at a time, the first of the document first
    PARALLEL = "parallel"  # as soon as what it waits for has ended
    LEVELS = "levels"  # a level starts when the one before has ended


class RestartScope(StrEnum):
    """What a supervisor starts again when a step has crashed. Source: Erlang/OTP, supervisor behaviour."""

    ONE_FOR_ONE = "one_for_one"  # the step
    ONE_FOR_ALL = "one_for_all"  # its level; for the strategy `levels`


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionLimits:
    """What one mission may ask for at most. Every field is a maximum."""

    document_bytes_max: int = 4 * 1024 * 1024
    nesting_max: int = 64  # levels of document nesting; a chain of steps may be as long as steps_max
    values_max: int = 500_000  # scalars, arrays and objects of the document: what reading it costs
    steps_max: int = 10_000
    edges_max: int = 200_000
    parallel_limit_max: int = 1_024
    step_timeout_seconds_max: float = 86_400.0
    mission_timeout_seconds_max: float = 604_800.0
    text_bytes_max: int = 4_096  # name and description
    labels_max: int = 64
    context_bytes_max: int = 64 * 1024 * 1024  # all outputs of a mission together
    output_bytes_max: int = 1024 * 1024  # one step's output
    condition_nodes_max: int = 64  # of one `when`
    items_max: int = 10_000  # of one `foreach`
    restarts_max: int = 1_000  # that a supervision may allow

    def __post_init__(self) -> None:
        """Refuse limits that the readers, which recurse, could not hold."""
        if not 1 <= self.nesting_max <= NESTING_MAX:
            raise ValueError(f"nesting_max must be from 1 to {NESTING_MAX}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """What happens to a step that has crashed, its own retries being used up.

    More than `max_restarts` within `within_seconds` is a catastrophe: the mission stops, and keeps what it has.
    """

    strategy: RestartScope = RestartScope.ONE_FOR_ONE
    max_restarts: int = 3
    within_seconds: float = 60.0

    def document(self) -> dict[str, JsonValue]:
        """Return the supervision as it stands in a mission."""
        return {
            "strategy": self.strategy.value,
            "max_restarts": self.max_restarts,
            "within_seconds": self.within_seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionConfig:
    """How a mission is executed."""

    timeout_seconds: float = 3_600.0
    fail_fast: bool = True
    parallel_limit: int = 16
    strategy: Strategy = Strategy.PARALLEL
    priority: int = PRIORITY_DEFAULT  # 0 to 9, higher first, within one tenant
    concurrency_key: str | None = None  # of the tenant's missions with one key, one runs at a time
    security_level: str | None = None  # a word of whoever runs the mission; None: theirs to choose
    supervision: Supervision | None = None  # None: what its own retries cannot mend has failed

    def document(self) -> dict[str, JsonValue]:
        """Return the configuration as the canonical JSON object."""
        out: dict[str, JsonValue] = {
            "timeout_seconds": self.timeout_seconds,
            "fail_fast": self.fail_fast,
            "parallel_limit": self.parallel_limit,
            "strategy": self.strategy.value,
            "priority": self.priority,
        }
        if self.concurrency_key is not None:
            out["concurrency_key"] = self.concurrency_key
        if self.security_level is not None:
            out["security_level"] = self.security_level
        if self.supervision is not None:
            out["supervision"] = self.supervision.document()
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class ForEach:
    """A step that is run once for each item; its output is the list of their outputs."""

    items: JsonValue  # a list, or a string that is one reference to a list
    parallel_limit: int | None = None  # items that run at a time; None: as many as the mission allows

    def document(self) -> dict[str, JsonValue]:
        """Return the fan-out as it stands in a mission."""
        out: dict[str, JsonValue] = {"items": self.items}
        if self.parallel_limit is not None:
            out["parallel_limit"] = self.parallel_limit
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionStep:
    """One operation of a mission, as the client wrote it: references in `parameters` are not yet resolved."""

    id: str
    name: str
    step_type: str  # canonical snake_case, "create_file"
    depends_on: tuple[str, ...] = ()
    when: JsonObject | None = None  # a condition (engine.condition); false: the step is Skipped, its dependents run
    foreach: ForEach | None = None
    timeout_seconds: float | None = None  # of one attempt
    continue_on_error: bool = False
    retry: RetryPolicy | None = None
    idempotent: bool = False  # its effects may be repeated where nobody knows whether they took place
    profile: str | None = None
    parameters: JsonObject = field(default_factory=dict)

    def document(self) -> dict[str, JsonValue]:
        """Return the step as the canonical JSON object, defaults left out."""
        out: dict[str, JsonValue] = {"id": self.id, "name": self.name, "step_type": self.step_type}
        if self.depends_on:
            out["depends_on"] = list(self.depends_on)
        if self.when is not None:
            out["when"] = self.when
        if self.foreach is not None:
            out["foreach"] = self.foreach.document()
        if self.timeout_seconds is not None:
            out["timeout_seconds"] = self.timeout_seconds
        if self.continue_on_error:
            out["continue_on_error"] = True
        if self.retry is not None:
            out["retry"] = self.retry.document()
        if self.idempotent:
            out["idempotent"] = True
        if self.profile is not None:
            out["profile"] = self.profile
        out["parameters"] = self.parameters
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Mission:
    """A complete workflow definition."""

    name: str
    steps: tuple[MissionStep, ...]
    version: str = "1.0"
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    config: MissionConfig = field(default_factory=MissionConfig)
    variables: JsonObject = field(default_factory=dict)

    def document(self) -> dict[str, JsonValue]:
        """Return the mission as one canonical JSON object; every spelling of one mission gives the same."""
        return {
            "version": self.version,
            "name": self.name,
            "description": self.description,
            "labels": dict(self.labels),
            "config": self.config.document(),
            "variables": self.variables,
            "steps": [step.document() for step in self.steps],
        }

    def canonical(self) -> bytes:
        """Return `document` as JSON with sorted keys, UTF-8, without white space."""
        return orjson.dumps(self.document(), option=orjson.OPT_SORT_KEYS)

    def digest(self) -> str:
        """Return `sha256:<hex>` of `canonical`."""
        return "sha256:" + hashlib.sha256(self.canonical()).hexdigest()
