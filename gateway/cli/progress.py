"""What a mission's events say of it so far: the state of each step, and of the mission. Nothing is drawn here."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from engine.graph import Graph, resolve_edges
from engine.outcome import CONDITION_FALSE
from engine.result import MissionState, StepState

RETRYING: Final = "Retrying"  # a step that waits for its next attempt
WAITING: Final = "Waiting"  # a step that waits for people, or for a mission of its own
ACTIVE: Final = frozenset({StepState.EXECUTING.value, RETRYING, WAITING})
_ENDS: Final = frozenset(
    f"mission.{state.value.lower()}" for state in (MissionState.COMPLETED, MissionState.FAILED, MissionState.CANCELLED)
)


@dataclass(slots=True)
class StepProgress:
    """One step, as far as its events tell."""

    step_id: str
    kind: str = ""  # of the step; "" where the mission is not known
    level: int = 0
    state: str = StepState.PENDING.value
    attempts: int = 0
    began: datetime | None = None
    duration_ms: float | None = None  # once it has ended
    note: str = ""
    items: int = 0  # of a fan-out, that have ended
    items_failed: int = 0
    items_total: int = 0
    code: str = ""  # of its failure
    again_at: datetime | None = None  # when its next attempt begins: no event tells of that
    approvals: dict[int | None, Mapping[str, Any]] = field(default_factory=dict)  # by item, that it waits for

    def state_at(self, now: datetime) -> str:
        """Return the state; the wait for the next attempt is over once its time has come."""
        due = self.again_at is not None and now >= self.again_at
        return StepState.EXECUTING.value if self.state == RETRYING and due else self.state

    def begin_anew(self) -> None:
        """Forget what has come of it."""
        self.again_at = None
        self.state, self.began, self.duration_ms, self.note, self.code = StepState.PENDING.value, None, None, "", ""
        self.items = self.items_failed = self.items_total = 0
        self.approvals.clear()


class Progress:
    """A mission as its watcher knows it. `apply` takes the events in their order; there is nothing to undo."""

    def __init__(self, view: Mapping[str, Any]) -> None:
        """Take the mission's view, with its document where that can be had."""
        self.name: str = view["name"]
        self.mission_id: str = view["mission_id"]
        self.state: str = MissionState.VALIDATED.value
        self.paused = False
        self.stopping = False
        self.waits_for = ""  # what the mission itself waits for
        self.approval: Mapping[str, Any] | None = None  # that, where it is one
        self.run = 1
        self.ended = False
        self.began: datetime | None = None
        self.last: datetime | None = None
        self.steps: dict[str, StepProgress] = {}
        self.steps_total: int = view["steps_total"]
        self.counts: Counter[str] = Counter()
        self._learn(view.get("mission") or {"steps": []})

    def _learn(self, mission: Mapping[str, Any]) -> None:
        """Note the steps in the order of the document, with kind and level."""
        steps = mission["steps"]
        index = {step["id"]: at for at, step in enumerate(steps)}
        graph = Graph.of(list(index), index, resolve_edges(index, [step.get("depends_on", ()) for step in steps])[0])
        levels = graph.levels if isinstance(graph, Graph) else ()
        of = {at: number for number, level in enumerate(levels) for at in level}
        for at, step in enumerate(steps):
            self.steps[step["id"]] = StepProgress(step["id"], kind=step["step_type"], level=of.get(at, 0))
        self.counts[StepState.PENDING.value] = self.steps_total

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take in one event; one of a kind that is not known changes nothing."""
        at = self.last = datetime.fromisoformat(event["timestamp"])
        if event["step_id"]:
            step = self.steps.setdefault(event["step_id"], StepProgress(event["step_id"]))
            before = step.state
            _apply_to_step(step, event, at)
            self._count(before, step.state)
        else:
            self._apply_to_mission(event["kind"], event["details"], at)

    def _count(self, before: str, after: str) -> None:
        self.counts[before] -= 1
        self.counts[after] += 1

    def _apply_to_mission(self, kind: str, details: Mapping[str, Any], at: datetime) -> None:
        match kind:
            case "mission.executing":
                self.state, self.waits_for, self.began = MissionState.EXECUTING.value, "", self.began or at
            case "mission.waiting":
                self.waits_for = str(details.get("for", ""))
                self.approval = details if self.waits_for == "approval" else None
            case "mission.waited":
                self.waits_for, self.approval = "", None
            case "mission.paused" | "mission.unpaused":
                self.paused = kind == "mission.paused"
            case "mission.stopping":
                self.stopping = True
            case "mission.resumed":  # after a restart of the gateway: what ran is begun again
                self._renew(step for step in self.steps.values() if step.state in ACTIVE)
            case "mission.level_restarting":
                self._renew(step for step in self.steps.values() if step.level == details.get("level"))
            case "mission.retried":
                self._retried()
            case _ if kind in _ENDS:
                self.state, self.ended = kind.partition(".")[2].capitalize(), True
                self.paused, self.stopping, self.waits_for, self.approval = False, False, "", None

    def _retried(self) -> None:
        """Begin the next run: what is Completed stays, and what its condition skipped; tries are counted anew."""
        self.run += 1
        self.state, self.ended, self.began = MissionState.VALIDATED.value, False, None
        again = [
            step
            for step in self.steps.values()
            if step.state != StepState.COMPLETED
            and (step.state, step.code) != (StepState.SKIPPED, CONDITION_FALSE.code)
        ]
        self._renew(again)
        for step in again:
            step.attempts = 0

    def _renew(self, steps: Iterable[StepProgress]) -> None:
        for step in list(steps):
            before = step.state
            step.begin_anew()
            self._count(before, step.state)

    @property
    def approvals(self) -> list[tuple[StepProgress, Mapping[str, Any]]]:
        """What steps wait for people to decide, in the order of the document."""
        return [(step, asked) for step in self.steps.values() for asked in step.approvals.values()]

    @property
    def steps_ended(self) -> int:
        """How many steps have their outcome."""
        return sum(self.counts[state] for state in (StepState.COMPLETED, StepState.FAILED, StepState.SKIPPED))


def waited_for(what: str) -> str:
    """Return in words what a mission waits for before it begins."""
    return "an approval" if what == "approval" else f"its {what.replace('_', ' ')}"


def note_of(event: Mapping[str, Any]) -> str:
    """Return what an event has to say beside its kind and its step."""
    details = event["details"]
    match event["kind"]:
        case "step.retrying":
            of = f"item {details['item']} " if "item" in details else ""
            return f"{of}again in {details.get('delay_ms', 0) / 1e3:g} s: {_failure(details)}"
        case "step.item":
            return f"{details.get('item')} of {details.get('total')}: {details.get('status')}"
        case "step.waiting" | "mission.waiting" if details.get("for") == "approval":
            return f"for approval: {details.get('message', '')}"
        case "step.waiting":
            return f"for mission {details.get('mission_id', '')}"
        case "step.waited" | "mission.waited" if details.get("for") == "approval":
            return str(details.get("state", ""))
        case "step.waited":
            return f"mission {details.get('mission_id', '')} is {details.get('state', '')}"
        case "mission.waiting":
            return f"for {str(details.get('for', '')).replace('_', ' ')}"
        case _:
            return _failure(details)


def _apply_to_step(step: StepProgress, event: Mapping[str, Any], at: datetime) -> None:
    kind, details = event["kind"], event["details"]
    match kind:
        case "step.executing":
            step.state, step.began, step.attempts = StepState.EXECUTING.value, step.began or at, step.attempts + 1
            step.note = ""
        case "step.retrying":
            step.attempts = max(step.attempts, int(details.get("attempt", 0)) + 1)
            step.note = f"again in {details.get('delay_ms', 0) / 1e3:g} s, {_brief(details)}"
            if "item" not in details:  # else others of its items run on
                step.state, step.again_at = RETRYING, at + timedelta(milliseconds=details.get("delay_ms", 0))
        case "step.item":
            step.approvals.pop(details["item"], None)
            step.state = WAITING if step.approvals else StepState.EXECUTING.value
            step.items, step.items_total = step.items + 1, details["total"]
            step.items_failed += details["status"] == StepState.FAILED
            step.note = f"{step.items}/{step.items_total}{f', {step.items_failed} failed' if step.items_failed else ''}"
        case "step.waiting":
            step.state, step.note = WAITING, note_of(event)
            if details.get("for") == "approval":
                step.approvals[details.get("item")] = details
            if len(step.approvals) > 1:
                step.note = f"for {len(step.approvals)} approvals"
        case "step.waited":
            step.approvals.pop(details.get("item"), None)
            if not step.approvals:
                step.state, step.note = StepState.EXECUTING.value, note_of(event)
        case "step.completed" | "step.failed" | "step.skipped":
            step.state, step.duration_ms = kind.partition(".")[2].capitalize(), details.get("duration_ms")
            step.code = (details.get("error") or {}).get("code", "")
            step.note = _brief(details) or (step.note if step.items_total else "")
            step.approvals.clear()


def _failure(details: Mapping[str, Any]) -> str:
    error = details.get("error") or {}
    return f"{error.get('message', '')}  [{error.get('code', '')}]" if error else ""


def _brief(details: Mapping[str, Any]) -> str:
    """Return a failure for a place that may be narrow: the code comes first."""
    error = details.get("error") or {}
    return f"{error.get('code', '')}: {error.get('message', '')}" if error else ""
