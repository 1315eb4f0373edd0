"""A whole gateway of fakes, in memory: real desk, pipeline and scheduler between ports that record and can fail.

Every port call passes `Faults.at(point)` or `Faults.hit(point)`, where a test may raise, hang or look. `laws_hold`
checks what gateway/events.py promises, on a fake's log and on a real one's alike.
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import orjson

from engine.audit.errors import AuditUnavailableError
from engine.clock import Clock
from engine.errors import EngineError
from engine.mission import MissionLimits
from engine.result import MissionResult, MissionState, StepResult
from gateway.effects.performer import EffectRequest, Effects, EffectScope
from gateway.effects.schemas import ARGUMENT_SCHEMAS
from gateway.errors import ConflictError, NotFoundError, StoreError
from gateway.identity import Principal
from gateway.missions.desk import Desk
from gateway.pipeline import Admission, StepPipeline
from gateway.policy.decision import Decision
from gateway.sandbox.constraints import ExecutionConstraints
from gateway.sandbox.hooks import Hook
from gateway.sandbox.port import RunReport
from gateway.sandbox.profile import profiles_from
from gateway.sanitizer.schema import ParameterSchema
from gateway.stages import StepKind
from gateway.store.records import Creation, MissionPage, MissionRecord, NewMission, StoredEvent

ANN = Principal(subject="ann", tenant="acme", roles=("submitter",))
BOB = Principal(subject="bob", tenant="acme", roles=("submitter",))
EVE = Principal(subject="eve", tenant="other", roles=("submitter",))
BUNDLE = "sha256:" + "b" * 64
YES = Decision(allow=True, bundle=BUNDLE)


class Faults:
    """What goes wrong, and where: a point's n-th call (from 0; None is every one) raises, or runs an act."""

    def __init__(self) -> None:
        self.plan: dict[tuple[str, int | None], BaseException | Callable[[], Any]] = {}
        self.calls: Counter[str] = Counter()

    def put(self, point: str, fault: BaseException | Callable[[], Any], nth: int | None = None) -> None:
        self.plan[point, nth] = fault

    def hit(self, point: str) -> Any:
        nth = self.calls[point]
        self.calls[point] += 1
        fault = self.plan.get((point, nth), self.plan.get((point, None)))
        if isinstance(fault, BaseException):
            raise fault
        return fault() if fault is not None else None

    async def at(self, point: str) -> None:
        await asyncio.sleep(0)
        outcome = self.hit(point)
        if outcome is not None:
            await outcome


async def hang() -> None:
    """Wait until cancelled."""
    await asyncio.get_running_loop().create_future()


@dataclass(frozen=True, slots=True)
class Event:
    seq: int
    event_type: str
    actor: str
    target: str
    details: Mapping[str, Any]

    @classmethod
    def of_line(cls, line: bytes) -> "Event":
        fields = json.loads(line)
        return cls(*(fields[name] for name in ("seq", "event_type", "actor", "target", "details")))


class FakeLog:
    """The audit log, in memory. An event is durable once somebody has waited for it."""

    def __init__(self, faults: Faults) -> None:
        self.events: list[Event] = []
        self.size = 0
        self.dead = False
        self._faults = faults

    def append(self, event_type: str, *, actor: str, target: str, details: Mapping[str, Any]) -> int:
        self._check()
        self._faults.hit("audit.append")
        self._faults.hit(f"audit.append:{event_type}")
        copy = orjson.loads(orjson.dumps(details))
        self.events.append(Event(len(self.events), str(event_type), actor, target, copy))
        return len(self.events) - 1

    async def durable(self, seq: int) -> None:
        if not 0 <= seq < len(self.events):
            raise ValueError(f"there is no event {seq}")
        waited_for = self.events[seq].event_type
        await self._faults.at("audit.durable")
        await self._faults.at(f"audit.durable:{waited_for}")
        self._check()
        self.size = max(self.size, seq + 1)

    def types(self, target: str | None = None) -> list[str]:
        return [e.event_type for e in self.events if target is None or e.target.endswith(target)]

    def of(self, event_type: str) -> list[Event]:
        return [e for e in self.events if e.event_type == event_type]

    def _check(self) -> None:
        if self.dead:
            raise AuditUnavailableError("the log is dead")


class FakePolicy:
    """Says what `answers` has for the entrypoint: a decision, or a function of the document."""

    digest = BUNDLE

    def __init__(self, faults: Faults) -> None:
        self.answers: dict[str, Decision | Callable[[Any], Decision]] = {}
        self.asked: list[tuple[str, Any]] = []
        self._faults = faults

    async def decide(self, entrypoint: str, document: bytes) -> Decision:
        self.asked.append((entrypoint, json.loads(document)))
        await self._faults.at(f"policy.{entrypoint}")
        answer = self.answers.get(entrypoint, YES)
        return answer if isinstance(answer, Decision) else answer(self.asked[-1][1])


class FakeSandbox:
    """Runs a step kind whose parameters say what the module answers: `batches` of effects, then `output` or `error`."""

    def __init__(self, faults: Faults) -> None:
        self.runs: list[tuple[str, Mapping[str, Any], ExecutionConstraints]] = []
        self.answer: Callable[[Mapping[str, Any]], Any] = scripted
        self.fuel_used = 1
        self.on_run: Callable[[str], None] = lambda _step_id: None
        self._faults = faults

    async def run(self, module: str, document: bytes, constraints: ExecutionConstraints) -> RunReport:
        asked = json.loads(document)
        self.runs.append((module, asked, constraints))
        self.on_run(asked["step"]["id"])
        await self._faults.at("sandbox.run")
        answer = self.answer(asked)
        output = answer if isinstance(answer, bytes) else orjson.dumps(answer)
        return RunReport(output, fuel_used=self.fuel_used, memory_bytes=65_536, wall_us=1)


def scripted(document: Mapping[str, Any]) -> Any:
    parameters, seen = document["parameters"], len(document["journal"])
    if seen and "error" in document["journal"][-1]:
        return {"error": {**document["journal"][-1]["error"], "retryable": False}}
    for batch in parameters.get("batches", []):
        if seen < len(batch):
            return {"effects": batch[seen:]}
        seen -= len(batch)
    return {"error": parameters["error"]} if "error" in parameters else {"output": parameters.get("output", {})}


class FakePerformer:
    """Performs by noting it, after a look at the log: no act without its durable intent."""

    def __init__(self, faults: Faults, log: FakeLog) -> None:
        self.performed: list[EffectRequest] = []
        self._faults = faults
        self._log = log

    def repeatable(self, _args: object) -> bool:
        return False

    async def perform(self, request: EffectRequest, _scope: EffectScope) -> dict[str, object]:
        intents = [e for e in self._log.events[: self._log.size] if e.event_type == "effect.intended"]
        assert request.key in {e.details["key"] for e in intents}, "an effect without its durable intent"
        await self._faults.at("effects.perform")
        self.performed.append(request)
        return {"done": request.op}


class FakeStore:
    """The store, in memory, with the same refusals."""

    def __init__(self, faults: Faults, clock: Clock) -> None:
        self.missions: dict[str, MissionRecord] = {}
        self.results: defaultdict[str, list[StepResult]] = defaultdict(list)
        self.bodies: defaultdict[str, list[bytes]] = defaultdict(list)
        self._faults = faults
        self._clock = clock

    async def create_mission(self, mission: NewMission) -> Creation:
        await self._faults.at("store.create")
        for record in self.missions.values():
            if (record.tenant, record.submitter, record.request_id) == (
                mission.tenant,
                mission.submitter,
                mission.request_id,
            ):
                return Creation(record, created=False)
        names = ("id", "tenant", "submitter", "request_id", "request_digest", "mission_digest", "name", "steps_total")
        fields = {name: getattr(mission, name) for name in names}
        self.missions[mission.id] = MissionRecord(
            **fields,
            state=MissionState.VALIDATED,
            overall_status=None,
            created_at=self._clock.now(),
            started_at=None,
            ended_at=None,
            total_duration_ms=None,
            steps_completed=0,
            steps_failed=0,
            steps_skipped=0,
            error=None,
            audit_summary=None,
            run=1,
            paused=False,
            roles=mission.roles,
            anonymous=mission.anonymous,
            parent_id=mission.parent_id,
            root_id=mission.root_id or mission.id,
            depth=mission.depth,
        )
        return Creation(self.missions[mission.id], created=True)

    async def find_request(self, tenant: str, submitter: str, request_id: str) -> MissionRecord | None:
        await self._faults.at("store.find")
        wanted = (tenant, submitter, request_id)
        return next((r for r in self.missions.values() if (r.tenant, r.submitter, r.request_id) == wanted), None)

    async def get_mission(self, mission_id: str) -> MissionRecord:
        await self._faults.at("store.get")
        if mission_id not in self.missions:
            raise NotFoundError("there is no such mission", code="mission.not_found")
        return self.missions[mission_id]

    async def list_missions(self, tenant: str | None, *, state: MissionState | None = None, **_: object) -> MissionPage:
        found = [r for r in self.missions.values() if tenant in {None, r.tenant} and state in {None, r.state}]
        return MissionPage(tuple(reversed(found)), "")

    async def mark_executing(self, mission_id: str) -> None:
        await self._faults.at("store.mark")
        if self.missions[mission_id].state is not MissionState.VALIDATED:
            raise ConflictError("not Validated", code="mission.state")
        self._change(mission_id, state=MissionState.EXECUTING, started_at=self._clock.now())

    async def save_step_results(self, mission_id: str, results: Sequence[StepResult]) -> None:
        await self._faults.at("store.results")
        known = {r.step_id for r in self.results[mission_id]}
        if known & {r.step_id for r in results}:
            raise StoreError("a second result", code="store.constraint")
        self.results[mission_id] += results

    async def append_events(self, mission_id: str, first_index: int, bodies: Sequence[bytes]) -> None:
        await self._faults.at("store.events")
        if first_index != len(self.bodies[mission_id]):
            raise StoreError("a gap", code="store.event_gap")
        self.bodies[mission_id] += bodies

    async def events(self, mission_id: str, from_index: int) -> tuple[StoredEvent, ...]:
        page = self.bodies[mission_id][from_index : from_index + 2]
        return tuple(StoredEvent(from_index + i, body) for i, body in enumerate(page))

    async def step_results(self, mission_id: str, *, offset: int = 0) -> tuple[StepResult, ...]:
        return tuple(self.results[mission_id][offset:])

    async def finish_mission(
        self, result: MissionResult, *, step_results: Sequence[StepResult] = (), audit_summary: bytes
    ) -> None:
        await self._faults.at("store.finish")
        if self.missions[result.mission_id].ended_at is not None:
            raise ConflictError("ended", code="mission.state")
        self.results[result.mission_id] += step_results
        self._change(
            result.mission_id,
            state=result.state,
            overall_status=result.overall_status,
            ended_at=result.end_time,
            steps_completed=result.steps_completed,
            steps_failed=result.steps_failed,
            steps_skipped=result.steps_skipped,
            error=result.error,
            audit_summary=audit_summary,
        )

    async def interrupt_unfinished(self) -> tuple[str, ...]:
        await self._faults.at("store.interrupt")
        unfinished = [r.id for r in self.missions.values() if r.ended_at is None]
        for mission_id in unfinished:
            self._change(mission_id, state=MissionState.FAILED, ended_at=self._clock.now())
        return tuple(unfinished)

    def _change(self, mission_id: str, **fields: Any) -> None:
        self.missions[mission_id] = replace(self.missions[mission_id], **fields)


class FakeWorkspaces:
    """Makes workspaces that only know whether they are closed."""

    def __init__(self, faults: Faults) -> None:
        self.made: dict[str, SimpleNamespace] = {}
        self._faults = faults

    def create(self, mission_id: str) -> Any:
        self._faults.hit("workspaces.create")
        space = SimpleNamespace(closed=False)
        space.close = lambda: setattr(space, "closed", True)
        self.made[mission_id] = space
        return space


class StandingClock:
    """Wall time that stands still, monotonic time of the loop."""

    def now(self) -> datetime:
        return datetime(2026, 1, 31, 12, 0, tzinfo=UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


SCHEMA = {
    "type": "object",
    "properties": {"path": {"type": "string", "x-type": "path", "maxLength": 64}},
    "additionalProperties": True,
}


def kind_of(name: str, effects: Sequence[str] = (), profile: str = "wasm") -> StepKind:
    hook = Hook(
        name=name,
        version="1.0.0",
        abi=1,
        kind="step",
        profile=profile,
        effects=tuple(effects),
        schema=SCHEMA,
        module=b"",
        sha256="0" * 64,
    )
    constraints = profiles_from({})[profile].constraints
    return StepKind(hook=hook, schema=ParameterSchema.compile(SCHEMA), constraints=constraints)


KINDS = {
    "pure": kind_of("pure"),
    "acting": kind_of("acting", ["file.write", "http.request", "nobody.performs"]),
    "reading": kind_of("reading", ["file.read"]),
}


@dataclass
class World:
    """A desk and everything that it stands on."""

    limits: MissionLimits = field(default_factory=MissionLimits)
    running_max: int = 10

    def __post_init__(self) -> None:
        self.faults = Faults()
        self.clock = StandingClock()
        self.log = FakeLog(self.faults)
        self.policy = FakePolicy(self.faults)
        self.sandbox = FakeSandbox(self.faults)
        self.performer = FakePerformer(self.faults, self.log)
        self.store = FakeStore(self.faults, self.clock)
        self.workspaces = FakeWorkspaces(self.faults)
        self.admission = Admission(kinds=KINDS, policy=self.policy, limits=self.limits)
        self.pipeline = StepPipeline(
            kinds=KINDS,
            profiles=profiles_from({}),
            policy=self.policy,
            sandbox=self.sandbox,
            effects=Effects({"file.write": self.performer, "http.request": self.performer}),
            effect_schemas={op: ParameterSchema.compile(schema) for op, schema in ARGUMENT_SCHEMAS.items()},
            audit=self.log,
            clock=self.clock,
        )
        self.acknowledged: list[str] = []
        self.open_desk()

    def open_desk(self) -> None:
        """Put a new desk on what is there, as a new process would."""
        self.desk = Desk(
            admission=self.admission,
            pipeline=self.pipeline,
            store=self.store,
            audit=self.log,
            workspaces=self.workspaces,
            clock=self.clock,
            limits=self.limits,
            running_max=self.running_max,
        )

    async def submit(self, form: Any, request_id: str = "r", principal: Principal = ANN) -> Any:
        """Submit, and note what was acknowledged: its admission must be durable by then."""
        document = form if isinstance(form, bytes) else orjson.dumps(form)
        submission = await self.desk.submit(principal, document, request_id)
        durable = [e.target for e in self.log.events[: self.log.size] if e.event_type == "mission.admitted"]
        assert submission.mission_id in durable, "acknowledged before its admission was durable"
        self.acknowledged.append(submission.mission_id)
        return submission

    async def settled(self) -> None:
        """Return when no mission runs."""
        while self.desk._running:
            await asyncio.wait([task for _, task in self.desk._running.values()])

    async def run(self, form: Any, request_id: str = "r") -> Any:
        """Submit, wait for the end, and return the view."""
        submission = await self.submit(form, request_id)
        await self.settled()
        return await self.desk.get(ANN, submission.mission_id)

    def laws_hold(self) -> None:
        """Check the laws of the log; what was performed is in it."""
        laws_hold(self.log.events)
        performed = Counter(e.details["key"] for e in self.log.of("effect.performed"))
        if not self.log.dead:
            assert performed == Counter(request.key for request in self.performer.performed)


def laws_hold(events: Iterable[Event], *, killed: bool = False) -> None:
    """Assert what gateway/events.py promises of a log's events; `killed` where the last of them may be missing."""
    verdicts: Counter[str] = Counter()
    ended: set[str] = set()
    open_intents: set[str] = set()
    over: set[str] = set()
    admitted: set[str] = set()
    for event in events:
        mission_id, _, step_id = event.target.partition("/")
        if event.event_type == "mission.admitted":
            admitted.add(event.target)
        elif event.event_type in {"mission.ended", "mission.interrupted"}:
            over.add(mission_id)
        elif event.event_type.startswith(("step.", "effect.")) and step_id:
            assert mission_id in admitted, f"{event}: not admitted"
            if event.event_type in {"step.allowed", "step.refused", "effect.allowed", "effect.intended"}:
                assert mission_id not in over, f"{event}: begun after the end"
            if event.event_type in {"step.allowed", "step.refused"}:
                verdicts[event.target] += 1
                assert verdicts[event.target] == 1, f"{event}: a second verdict"
            elif event.event_type == "step.ended":
                assert event.target not in ended, f"{event}: a second end"
                ended.add(event.target)
                if event.details["status"] == "Completed":
                    assert verdicts[event.target], f"{event}: no verdict"
            elif event.event_type == "effect.intended":
                open_intents.add(event.details["key"])
            elif event.event_type in {"effect.performed", "effect.failed"}:
                assert event.details["key"] in open_intents, f"{event}: no open intent"
                open_intents.remove(event.details["key"])
    if not killed:
        assert not open_intents, "an intent without an end"


def step(step_id: str, *depends_on: str, kind: str = "pure", **fields: Any) -> dict[str, Any]:
    """Return a step; `batches`, `output`, `error` and other parameters by name."""
    own = {name: fields.pop(name) for name in ("continue_on_error", "timeout_seconds", "profile") if name in fields}
    return {
        "id": step_id,
        "name": step_id,
        "step_type": kind,
        "depends_on": list(depends_on),
        "parameters": fields,
        **own,
    }


def mission(*steps: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {"version": "1.0", "name": "m", "steps": list(steps), **fields}


def write(path: str = "a.txt") -> dict[str, Any]:
    """Return the effect of writing a file."""
    return {"op": "file.write", "args": {"path": path, "content": "x"}}


def code_of(error: BaseException) -> str:
    return error.code if isinstance(error, EngineError) else "internal"
