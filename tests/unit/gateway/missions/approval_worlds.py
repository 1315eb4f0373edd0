"""Approvals and sub-missions on a store, a log and a desk in memory, which a test may kill and open again."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from engine.result import MissionState, OverallStatus, StepFailure, StepResult
from engine.values import JsonObject
from gateway.effects.performer import EffectRequest, EffectScope
from gateway.errors import ConflictError, NotFoundError, StoreError
from gateway.identity import Principal
from gateway.missions.approvals import Approvals
from gateway.missions.views import MissionEvent
from gateway.store.approval_records import ApprovalRecord, ApprovalState, NewApproval
from gateway.store.records import StoredEvent
from tests.subjects import FixedSubjects, known
from tests.virtual_time import EPOCH, LoopClock

ANN = known(Principal(subject="ann", tenant="acme", roles=("submitter", "approver")))
BOB = known(Principal(subject="bob", tenant="acme", roles=("approver",)))
LEA = known(Principal(subject="lea", tenant="acme", roles=("lead",)))
EVE = known(Principal(subject="eve", tenant="other", roles=("approver",)))
DIGEST = "sha256:" + "d" * 64
BUNDLE = "sha256:" + "b" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A mission as the store knows it."""

    id: str = "m1"
    tenant: str = "acme"
    submitter: str = "ann"
    run: int = 1
    parent_id: str | None = None
    root_id: str = "m1"
    depth: int = 0
    steps_total: int = 1
    state: MissionState = MissionState.EXECUTING
    overall_status: OverallStatus | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: StepFailure | None = None

    def ended(self, state: MissionState, status: OverallStatus, error: StepFailure | None = None) -> "Facts":
        return replace(self, state=state, overall_status=status, ended_at=EPOCH, error=error)


class FakeStore:
    """The parts of the store that approvals and sub-missions use; it survives the death of a gateway."""

    def __init__(self, *missions: Facts) -> None:
        self.missions = {mission.id: mission for mission in missions or (Facts(),)}
        self.approvals: dict[str, ApprovalRecord] = {}
        self.results: dict[str, list[StepResult]] = {}
        self.stops: dict[str, str] = {}  # mission → why it ended before its last step
        self.broken = False
        self.looks = 0  # how often a tree was counted
        self.page = 10_000  # approvals in one answer, the newest

    async def get_mission(self, mission_id: str) -> Facts:
        await self._at()
        if mission_id not in self.missions:
            raise NotFoundError("there is no such mission", code="mission.not_found")
        return self.missions[mission_id]

    async def mission_key(self, mission_id: str) -> bytes:
        return hashlib.sha256(mission_id.encode()).digest()

    async def children(self, mission_id: str) -> tuple[Facts, ...]:
        await self._at()
        self.looks += 1
        return tuple(m for m in self.missions.values() if m.parent_id == mission_id)

    async def step_results(self, mission_id: str, *, offset: int = 0) -> tuple[StepResult, ...]:
        await self._at()
        return tuple(self.results.get(mission_id, [])[offset : offset + 2])

    async def events(self, mission_id: str, from_index: int) -> tuple[StoredEvent, ...]:
        await self._at()
        reason = self.stops.get(mission_id)
        if reason is None or from_index > 0:
            return ()
        details: JsonObject = {"state": "Failed", "error": {"code": reason, "message": "m"}, "of_step": False}
        event = MissionEvent(index=0, timestamp=EPOCH, kind="mission.stopping", step_id="", details=details)
        return (StoredEvent(0, event.to_bytes()),)

    async def create_approval(self, approval: NewApproval) -> ApprovalRecord:
        await self._at()
        for record in self.approvals.values():
            if record.effect_key == approval.effect_key:
                return record
        fields = {name: getattr(approval, name) for name in NewApproval.__slots__}
        end = {"state": ApprovalState.PENDING, "decided_at": None, "decided_by": None, "comment": ""}
        self.approvals[approval.id] = ApprovalRecord(**fields, **end)
        return self.approvals[approval.id]

    async def get_approval(self, approval_id: str) -> ApprovalRecord:
        await self._at()
        if approval_id not in self.approvals:
            raise NotFoundError("there is no such approval", code="approval.not_found")
        return self.approvals[approval_id]

    async def list_approvals(
        self, tenant: str, mission_id: str | None, *, pending_only: bool
    ) -> tuple[ApprovalRecord, ...]:
        await self._at()
        found = tuple(
            record
            for record in self.approvals.values()
            if self.missions[record.mission_id].tenant == tenant
            and mission_id in {None, record.mission_id}
            and (record.state is ApprovalState.PENDING or not pending_only)
        )
        return found[-self.page :]

    async def approved_by(self, approval_id: str) -> tuple[str, ...]:
        await self._at()
        return self._others(approval_id)

    def _others(self, approval_id: str) -> tuple[str, ...]:
        this = self.approvals[approval_id]
        root = self.missions[this.mission_id].root_id
        return tuple(
            other.decided_by or ""
            for other in self.approvals.values()
            if other.id != this.id
            and other.state is ApprovalState.APPROVED
            and self.missions[other.mission_id].root_id == root
        )

    async def decide_approval(
        self,
        approval_id: str,
        state: ApprovalState,
        by: str | None,
        comment: str,
        *,
        roles: Sequence[str] = (),
        seen: Collection[str] | None = None,
    ) -> ApprovalRecord:
        await self._at()
        record = self.approvals[approval_id]
        if record.state is not ApprovalState.PENDING:
            raise ConflictError("decided", code="approval.decided")
        if seen is not None and by not in seen and by in self._others(approval_id):
            raise ConflictError("raced", code="approval.raced")
        now = LoopClock().now()
        decided = replace(
            record, state=state, decided_by=by, comment=comment, decided_at=now, decided_roles=tuple(roles)
        )
        self.approvals[approval_id] = decided
        await asyncio.sleep(0)  # committed, and not yet answered
        return decided

    async def _at(self) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise StoreError("the disk is gone")


@dataclass(frozen=True)
class Event:
    seq: int
    event_type: str
    actor: str
    target: str
    details: Mapping[str, Any]


class FakeLog:
    """The log; an event is durable a second after somebody began to wait for it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.size = 0
        self.fault: Exception | None = None

    def append(self, event_type: str, *, actor: str, target: str, details: Mapping[str, Any]) -> int:
        if self.fault is not None:
            raise self.fault
        self.events.append(Event(len(self.events), str(event_type), actor, target, details))
        return len(self.events) - 1

    async def durable(self, seq: int) -> None:
        if self.size <= seq:
            await asyncio.sleep(1)
        self.size = max(self.size, seq + 1)

    def told(self) -> list[tuple[str, str]]:
        """Return who did what, as far as it is durable."""
        return [(event.actor, event.event_type) for event in self.events[: self.size]]


@dataclass
class World:
    """One gateway's approvals, on a store and a log that outlive it."""

    store: FakeStore = field(default_factory=FakeStore)
    log: FakeLog = field(default_factory=FakeLog)
    waiting_max: int = 100

    def __post_init__(self) -> None:
        self.told: list[tuple[str, str, str, Mapping[str, Any]]] = []
        self.places: list[str] = []
        self.open()

    def open(self) -> None:
        """Begin as a new process would."""
        self.approvals = Approvals(self.store, self.log, LoopClock(), FixedSubjects(), waiting_max=self.waiting_max)
        self.approvals.bind(lambda *told: self.told.append(told))

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        self.places.append("left")
        yield
        self.places.append("back")

    def scope(self, **fields: Any) -> EffectScope:
        own = {"mission_id": "m1", "step_id": "s1", "caller": ANN, "bundle": BUNDLE, "digest": DIGEST}
        return EffectScope(**{"workspace": None, "waiting": self.waiting, **own, **fields})  # type: ignore[arg-type]

    def ask(self, key: str = "k", *, args: Mapping[str, Any] | None = None, **scope: Any) -> "asyncio.Task[Any]":
        """Perform the effect in a task."""
        request = EffectRequest(
            op="approval.request", args=args or {"message": "Ship it?"}, key=key, timeout_seconds=float("inf")
        )
        return asyncio.create_task(self.approvals.perform(request, self.scope(**scope)))

    async def asked(self, key: str = "k", **fields: Any) -> "tuple[asyncio.Task[Any], ApprovalRecord]":
        """Ask, and return once the step waits."""
        task = self.ask(key, **fields)
        await asyncio.sleep(5)  # longer than the log takes
        return task, next(r for r in self.store.approvals.values() if r.effect_key.partition("/")[0] == key)

    async def decide(self, record: ApprovalRecord, principal: Principal = BOB, **fields: Any) -> Any:
        how = {"approve": True, "digest": record.digest, "comment": "fine", **fields}
        return await self.approvals.decide(principal, record.mission_id, record.id, **how)
