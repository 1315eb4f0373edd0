"""A mission as values: what a client asks for, parsed, before anything is decided.

Source: data-model document, sections Mission and MissionStep. `engine.loader` is the only maker of a `Plan`
(`engine.plan`), so a function that takes a `Plan` gets a mission whose every rule has been checked.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from engine.values import JsonObject, JsonValue

NESTING_MAX = 128  # levels that any configuration may allow; some readers recurse


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

    def __post_init__(self) -> None:
        """Refuse limits that the readers, which recurse, could not hold."""
        if not 1 <= self.nesting_max <= NESTING_MAX:
            raise ValueError(f"nesting_max must be from 1 to {NESTING_MAX}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionConfig:
    """How a mission is executed."""

    timeout_seconds: float = 3_600.0
    fail_fast: bool = True
    parallel_limit: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionStep:
    """One operation of a mission, as the client wrote it: references in `parameters` are not yet resolved."""

    id: str
    name: str
    step_type: str  # canonical snake_case, "create_file"
    depends_on: tuple[str, ...] = ()
    timeout_seconds: float | None = None
    continue_on_error: bool = False
    profile: str | None = None
    parameters: JsonObject = field(default_factory=dict)

    def document(self) -> dict[str, JsonValue]:
        """Return the step as the canonical JSON object, defaults left out."""
        out: dict[str, JsonValue] = {"id": self.id, "name": self.name, "step_type": self.step_type}
        if self.depends_on:
            out["depends_on"] = list(self.depends_on)
        if self.timeout_seconds is not None:
            out["timeout_seconds"] = self.timeout_seconds
        if self.continue_on_error:
            out["continue_on_error"] = True
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
            "config": {
                "timeout_seconds": self.config.timeout_seconds,
                "fail_fast": self.config.fail_fast,
                "parallel_limit": self.config.parallel_limit,
            },
            "variables": self.variables,
            "steps": [step.document() for step in self.steps],
        }

    def canonical(self) -> bytes:
        """Return `document` as JSON with sorted keys, UTF-8, without white space."""
        return orjson.dumps(self.document(), option=orjson.OPT_SORT_KEYS)

    def digest(self) -> str:
        """Return `sha256:<hex>` of `canonical`."""
        return "sha256:" + hashlib.sha256(self.canonical()).hexdigest()
