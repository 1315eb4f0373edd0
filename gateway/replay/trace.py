"""What the log says of one mission: of each step, and each item of one, its last attempt, verdict by verdict.

Events come in the order of the log, and only those that a verified checkpoint covers. An effect is known by its place
in its step; effects that were asked for in one round stand together, since an error sends the module back with the
rest of a batch forgotten.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import orjson

from gateway.sandbox.version import EngineVersion

_VERDICTS: Final = frozenset({"step.allowed", "step.refused"})
_ENDS: Final = frozenset({"effect.performed", "effect.replayed", "effect.failed"})
_NEVER_BEGUN: Final = "effect.not_performed"


@dataclass(frozen=True, slots=True)
class LogEvent:
    """The part of a line that a replay looks at."""

    event_type: str
    target: str
    details: Mapping[str, Any]

    @classmethod
    def of_line(cls, line: bytes) -> Self:
        """Return the event of a verified line."""
        fields = orjson.loads(line)
        return cls(fields["event_type"], fields["target"], fields["details"])


@dataclass(frozen=True, slots=True)
class Asked:
    """An effect that a module has asked for, and whether it was allowed."""

    index: int
    op: str
    args: str  # digest; "" where it was refused before its arguments were in order
    refused: str = ""  # the code


@dataclass(frozen=True, slots=True)
class Told:
    """What came of an effect, as the log has it."""

    event_type: str
    details: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class AttemptTrace:
    """One attempt at a step, or at an item of it."""

    verdict: LogEvent
    engine: EngineVersion | None  # that of the process
    rounds: list[list[Asked]] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)  # by the place of the effect
    again: dict[int, LogEvent] = field(default_factory=dict)  # verdicts after a wait, by how many effects were told
    held: dict[int, list[LogEvent]] = field(default_factory=dict)  # likewise, where a person was waited for in a batch
    stopped_held: dict[int, str] = field(default_factory=dict)  # likewise: the code with which the batch was refused
    refused_later: dict[int, str] = field(default_factory=dict)  # after a wait: place of an effect, and the code
    rewrites: tuple[Mapping[str, Any], ...] = ()  # of the output
    violations: tuple[str, ...] = ()
    cut: bool = False  # it may have been stopped in the middle: by a kill, or with the other items of its step
    _acting: bool = True

    @property
    def masked(self) -> list[str]:
        """The pointers into its output that were masked: those of every verdict."""
        verdicts = (self.verdict, *self.again.values(), *(each for held in self.held.values() for each in held))
        return sorted({str(pointer) for each in verdicts for pointer in each.details.get("masked", ())})

    def take(self, event: LogEvent) -> None:
        """Note an event of the attempt."""
        kind, details = event.event_type, event.details
        if kind in _VERDICTS and details.get("held"):
            self.held.setdefault(len(self.told), []).append(event)
            if kind == "step.refused":
                self.stopped_held[len(self.told)] = str(details.get("code", "internal"))
        elif kind in _VERDICTS:
            self.again[len(self.told)] = event
            self._acting = True
        elif kind in {"effect.allowed", "effect.refused"}:
            self._take_asked(kind, details)
        elif kind in _ENDS:
            self._acting = True
            if details.get("code") != _NEVER_BEGUN:
                self.told.append(Told(kind, details))
        elif kind == "effect.intended":
            self._acting = True
        elif kind == "step.output_rewritten":
            self.rewrites = tuple(details["rewrites"])
        elif kind == "constraint.violated":
            self.violations += (str(details["kind"]),)

    def _take_asked(self, kind: str, details: Mapping[str, Any]) -> None:
        refused = str(details.get("code", "internal")) if kind == "effect.refused" else ""
        if details.get("again"):
            if refused and len(self.told) in self.held and not self._acting:  # nothing of the batch was begun
                self.stopped_held[len(self.told)] = refused
            elif refused:
                self.refused_later[details["index"]] = refused
            return
        if self._acting:
            self.rounds.append([])
            self._acting = False
        self.rounds[-1].append(Asked(details["index"], details["op"], str(details.get("args", "")), refused))


@dataclass(slots=True)
class MissionTrace:
    """The events of one mission, taken in one after the other."""

    mission_id: str
    mission_digest: str = ""
    attempts: dict[str, dict[int | None, AttemptTrace]] = field(default_factory=dict)  # by step, then by item
    ends: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # by step: the last `step.ended`, or what was kept
    skipped: dict[str, str] = field(default_factory=dict)  # by step: the code
    kept_effects: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # by key
    events: int = 0
    pruned: bool = False
    _engine: EngineVersion | None = None
    _over: set[str] = field(default_factory=set)  # steps whose next verdict begins a new execution of theirs

    def take(self, event: LogEvent) -> None:
        """Note an event; those of others are passed over."""
        kind = event.event_type
        if kind == "gateway.started":
            engine = event.details.get("engine")
            self._engine = EngineVersion(engine["wasmtime"], engine["abi"]) if engine is not None else None
            return
        if kind == "mission.pruned" and self.mission_id in event.details.get("missions", ()):
            self.pruned = True
        mission_id, _, place = event.target.partition("/")
        if mission_id != self.mission_id:
            return
        self.events += 1
        if place:
            self._take_step(event, place)
        else:
            self._take_mission(event)

    def _take_mission(self, event: LogEvent) -> None:
        kind, details = event.event_type, event.details
        if kind in {"mission.admitted", "mission.retried", "mission.resumed"}:
            self.mission_digest = str(details.get("mission", self.mission_digest))
        if kind in {"mission.resumed", "mission.retried"}:
            if kind == "mission.resumed":
                self._cut()
            self._over.update(self.attempts)
        elif kind == "mission.steps_kept":
            for each in details["steps"]:
                if each["status"] == "Skipped":
                    self._skip(each["id"], str(each.get("code", "")))
                else:
                    self.ends[each["id"]] = each
        elif kind == "mission.effects_kept":
            self.kept_effects |= {each["key"]: each for each in details["effects"]}
        elif kind == "step.skipped":
            for step_id in details["steps"]:
                self._skip(step_id, str(details["code"]))

    def _cut(self) -> None:
        for step_id, items in self.attempts.items():
            if step_id not in self._over:
                for attempt in items.values():
                    attempt.cut = True

    def _skip(self, step_id: str, code: str) -> None:
        self.skipped[step_id] = code
        self.ends.pop(step_id, None)

    def _take_step(self, event: LogEvent, place: str) -> None:
        step_id, _, rest = place.partition("[")
        item = int(rest.removesuffix("]")) if rest else None
        if event.event_type == "step.ended":
            self.ends[step_id] = event.details
            self._over.add(step_id)
        elif event.event_type in _VERDICTS and not event.details.get("again"):
            if step_id in self._over:
                self._over.discard(step_id)
                self.attempts.pop(step_id, None)
                self.ends.pop(step_id, None)
            self.skipped.pop(step_id, None)
            self.attempts.setdefault(step_id, {})[item] = AttemptTrace(verdict=event, engine=self._engine)
        elif (attempt := self.attempts.get(step_id, {}).get(item)) is not None:
            attempt.take(event)
