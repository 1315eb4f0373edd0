"""A whole gateway of fakes, in memory: real desk, pipeline and scheduler between ports that record and can fail.

Every port call passes `Faults.at(point)` or `Faults.hit(point)`, where a test may raise, hang or look. `laws_hold`
checks what gateway/events.py promises, on a fake's log and on a real one's alike.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import orjson

from engine.attempt import StepAttempt
from engine.audit.errors import AuditUnavailableError
from engine.breaker import Breakers, BreakerSettings
from engine.constraints import ExecutionConstraints
from engine.constraints.quotas import Quota
from engine.errors import EngineError
from engine.exclusive import ExclusiveKeys
from engine.mission import MissionLimits
from engine.slots import SharedSlots
from gateway.admission import Admission
from gateway.consent import Consent
from gateway.constrained.data import rules_from
from gateway.constrained.holding import Holding
from gateway.effects.performer import EffectRequest, Effects, EffectScope
from gateway.effects.schemas import ARGUMENT_SCHEMAS
from gateway.effects.timer import TimerSleep
from gateway.hook_failures import HookFailures
from gateway.hookset import FixedHooks, HookSet, PlacedHook, StepKind
from gateway.identity import Principal
from gateway.limits.amounts import Allowances
from gateway.limits.quotas import MissionQuotas
from gateway.limits_config import LimitsConfig
from gateway.missions.approvals import Approvals
from gateway.missions.children import Children
from gateway.missions.desk import Desk
from gateway.missions.execution import Ground
from gateway.observing import Observers
from gateway.performing import Performing
from gateway.pipeline import StepPipeline
from gateway.policy.decision import Decision
from gateway.reusing import KeptResults, Reusing
from gateway.sandbox.hooks import Hook
from gateway.sandbox.port import NO_GIVEN, RunGiven, RunReport
from gateway.sandbox.profile import profiles_from
from gateway.sanitizer.schema import ParameterSchema
from gateway.screening import Screening
from gateway.security_levels import SecurityLevels, security_levels
from gateway.stages import AdmittedMission
from gateway.watch import UNWATCHED, Watch
from tests.inline_store import InlineStore
from tests.subjects import FixedSubjects, known

ANN = known(Principal(subject="ann", tenant="acme", roles=("submitter",)))
BOB = known(Principal(subject="bob", tenant="acme", roles=("submitter",)))
EVE = known(Principal(subject="eve", tenant="other", roles=("submitter",)))
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

    first = 0

    def read(self, start: int, count: int) -> Iterator[bytes]:
        for event in self.events[start : min(start + count, self.size)]:
            yield orjson.dumps({"event_type": event.event_type, "target": event.target, "details": event.details})

    def types(self, target: str | None = None) -> list[str]:
        return [e.event_type for e in self.events if target is None or e.target.endswith(target)]

    def of(self, event_type: str) -> list[Event]:
        return [e for e in self.events if e.event_type == event_type]

    def _check(self) -> None:
        if self.dead:
            raise AuditUnavailableError("the log is dead")


class FakeDecisions:
    """Remembers which recorded decisions were to be erased."""

    def __init__(self) -> None:
        self.erased: list[tuple[frozenset[str], frozenset[str]]] = []

    async def erase(self, missions: Collection[str], decisions: Collection[str]) -> int:
        self.erased.append((frozenset(missions), frozenset(decisions)))
        return len(decisions)


class FakePolicy:
    """Says what `answers` has for the entrypoint: a decision, or a function of the document."""

    digest = BUNDLE

    def __init__(self, faults: Faults) -> None:
        self.answers: dict[str, Decision | Callable[[Any], Decision]] = {}
        self.asked: list[tuple[str, Any]] = []
        self._faults = faults

    async def decide(self, entrypoint: str, document: bytes) -> Decision:
        asked = json.loads(document)
        self.asked.append((entrypoint, asked))
        await self._faults.at(f"policy.{entrypoint}")
        answer = self.answers.get(entrypoint, YES)
        return answer if isinstance(answer, Decision) else answer(asked)


class FakeSandbox:
    """Runs a step kind whose parameters say what the module answers: `batches` of effects, then `output` or `error`."""

    def __init__(self, faults: Faults) -> None:
        self.runs: list[tuple[str, Mapping[str, Any], ExecutionConstraints]] = []
        self.given: list[RunGiven] = []
        self.runs: list[tuple[str, Mapping[str, Any], ExecutionConstraints]] = []  # of steps
        self.hook_runs: list[tuple[str, Mapping[str, Any], ExecutionConstraints]] = []  # of the other kinds
        self.hooks: dict[str, Callable[[Mapping[str, Any]], Any]] = {}  # what they answer, by key
        self.answer: Callable[[Mapping[str, Any]], Any] = scripted
        self.fuel_used = 1
        self.on_run: Callable[[str], None] = lambda _step_id: None
        self._faults = faults

    async def run(
        self, module: str, document: bytes, constraints: ExecutionConstraints, given: RunGiven = NO_GIVEN
    ) -> RunReport:
        asked = json.loads(document)
        self.given.append(given)
        if asked["kind"] != "step":
            return await self._run_hook(module, asked, constraints)
        self.runs.append((module, asked, constraints))
        self.on_run(asked["step"]["id"])
        await self._faults.at("sandbox.run")
        answer = self.answer(asked)
        output = answer if isinstance(answer, bytes) else orjson.dumps(answer)
        return RunReport(output, fuel_used=self.fuel_used, memory_bytes=65_536, wall_us=1)

    async def _run_hook(self, key: str, asked: Mapping[str, Any], constraints: ExecutionConstraints) -> RunReport:
        self.hook_runs.append((key, asked, constraints))
        await self._faults.at(f"hook.{asked['kind']}.{asked['at']}")
        answer = self.hooks[key](asked)
        output = answer if isinstance(answer, bytes) else orjson.dumps(answer)
        return RunReport(output, fuel_used=1, memory_bytes=65_536, wall_us=1)


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
        self.is_repeatable = False
        self._faults = faults
        self._log = log

    seconds_max = 60.0

    def repeatable(self, _args: object) -> bool:
        return self.is_repeatable

    async def perform(self, request: EffectRequest, _scope: EffectScope) -> dict[str, object]:
        intents = [e for e in self._log.events[: self._log.size] if e.event_type == "effect.intended"]
        assert request.key in {e.details["key"] for e in intents}, "an effect without its durable intent"
        await self._faults.at("effects.perform")
        self.performed.append(request)
        return {"done": request.op}


class FakeWorkspaces:
    """Makes workspaces that only know whether they are closed."""

    def __init__(self, faults: Faults) -> None:
        self.made: dict[str, SimpleNamespace] = {}
        self.removed: list[str] = []
        self._faults = faults

    def names(self) -> list[str]:
        return [name for name in self.made if name not in self.removed]

    def remove(self, mission_id: str) -> None:
        self.removed.append(mission_id)

    def create(self, mission_id: str, key: bytes = b"") -> Any:
        assert mission_id not in self.made, "a second workspace of one mission"
        return self.reopen(mission_id, key)

    def reopen(self, mission_id: str, _key: bytes = b"") -> Any:
        self._faults.hit("workspaces.create")
        space = SimpleNamespace(closed=False, held_bytes=0)
        space.close = lambda: setattr(space, "closed", True)
        self.made[mission_id] = space
        return space


class StandingClock:
    """Wall time that stands still, monotonic time of the loop, and none where there is no loop."""

    def now(self) -> datetime:
        return datetime(2026, 1, 31, 12, 0, tzinfo=UTC)

    def monotonic(self) -> float:
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:  # the sanitizer alone, outside of any loop
            return 0.0


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
    constraints = profiles_from({})[profile]
    return StepKind(hook=hook, schema=ParameterSchema.compile(SCHEMA), constraints=constraints)


_ALL = {"profiles": ["*"], "effects": ["*"]}
LEVELS = security_levels({"security": {"levels": {"balanced": _ALL, "relaxed": _ALL}}})
KINDS = {
    "asking": kind_of("asking", ["approval.request"]),
    "nesting": kind_of("nesting", ["mission.run"]),
    "pure": kind_of("pure"),
    "acting": kind_of("acting", ["file.write", "http.request", "nobody.performs"]),
    "guarded": kind_of("guarded", ["approval.request", "file.write"]),
    "sleeping": kind_of("sleeping", ["timer.sleep", "file.write"]),
    "posting": kind_of("posting", ["file.write", "http.request"]),
    "reading": kind_of("reading", ["file.read"]),
}


class CountingPipeline(StepPipeline):
    """Counts attempts, by their target in the log."""

    def count(self, begun: Counter[str], judged: Counter[str]) -> None:
        """Count those that begin, and those that end without having been cancelled: they must have a verdict."""
        self._begun, self._judged = begun, judged

    async def run_step(self, admitted: AdmittedMission, index: int, attempt: StepAttempt) -> Any:
        target = admitted.target(admitted.sanitized.plan.mission.steps[index].id, attempt.item)
        self._begun[target] += 1
        try:
            output = await super().run_step(admitted, index, attempt)
        except Exception as error:
            self._judged[target] += not admitted.trail.over and code_of(error) != "step.ended"
            raise
        self._judged[target] += 1
        return output


@dataclass
class World:
    """A desk and everything that it stands on."""

    limits: MissionLimits = field(default_factory=MissionLimits)
    running_max: int = 10
    steps_running_max: int = 1_000
    failures_max: int = 1_000
    levels: SecurityLevels = LEVELS
    placed: tuple[PlacedHook, ...] = ()  # screens, rewrites and observers
    chance: float = 0.5  # what the samples of observers are drawn from
    violations_max: int = 1_000
    quota: Quota = field(default_factory=Quota)
    reuse: tuple[str, ...] = ()  # step kinds of which results are used again
    allowances: Allowances = field(default_factory=LimitsConfig().allowances)
    cpu_us_each: int = 0  # of every look at the CPU time: what each rule in this process takes
    watch: Watch = UNWATCHED

    def __post_init__(self) -> None:
        self.faults = Faults()
        self.killed: list[Desk | None] = []
        self.cpu_us = 0
        self.clock = StandingClock()
        self.log = FakeLog(self.faults)
        self.policy = FakePolicy(self.faults)
        self.sandbox = FakeSandbox(self.faults)
        self.performer = FakePerformer(self.faults, self.log)
        self.store = InlineStore(self.faults, self.clock)
        self.workspaces = FakeWorkspaces(self.faults)
        self.hooks = FixedHooks(HookSet(kinds=KINDS, sandbox=self.sandbox, placed=self.placed))
        self.held = Holding.of(
            profiles=profiles_from({}),
            rules=rules_from({}),
            quota=self.quota,
            breakers=BreakerSettings(failures_max=self.violations_max),
            policy=self.policy,
            audit=self.log,
            clock=self.clock,
            chance=lambda: self.chance,
            cpu_us=self._cpu_us,
        )
        self.failures = HookFailures(self.log, self.clock)
        self.screening = Screening(self.held.runs, self.failures, self.log, self.clock)
        self.observers = Observers(self.held.runs, self.failures)
        self.admission = Admission(
            hooks=self.hooks,
            levels=self.levels,
            policy=self.held.policy,
            limits=self.limits,
            sanitizer=self.held.sanitizer,
            screening=self.screening,
            observers=self.observers,
            clock=self.clock,
            watch=self.watch,
        )
        self.subjects = FixedSubjects()
        self.acknowledged: list[str] = []
        self.begun: Counter[str] = Counter()  # attempts, by their target in the log
        self.judged: Counter[str] = Counter()  # those of them that were not cancelled, and so must have a verdict
        self.open_desk()

    def _cpu_us(self) -> int:
        self.cpu_us += self.cpu_us_each
        return self.cpu_us

    def open_desk(self) -> None:
        """Put a new desk on what is there, as a new process would.

        What the one before had running hangs until the loop ends; were it let go, its tasks would be destroyed aloud.
        """
        self.killed.append(getattr(self, "desk", None))
        self.quotas = MissionQuotas(self.allowances)
        self.approvals = Approvals(self.store, self.log, self.clock, self.subjects)
        self.children = Children(self.store)
        self.consent = Consent(self.held.policy, self.approvals, self.clock)
        self.effects = Effects(
            {
                "file.write": self.performer,
                "http.request": self.performer,
                "timer.sleep": TimerSleep(),
                "approval.request": self.approvals,
                "mission.run": self.children,
            }
        )
        self.results = KeptResults(
            now=self.clock.monotonic, ttl_seconds=60, entries_max=100, bytes_max=1_000_000, tenants_max=10
        )
        self.pipeline = CountingPipeline(
            hooks=self.hooks,
            profiles=lambda _bundle: profiles_from({}),
            policy=self.held.policy,
            sanitizer=self.held.sanitizer,
            runs=self.held.runs,
            reusing=Reusing(self.held.runs, self.results, self.reuse),
            screening=self.screening,
            observers=self.observers,
            performing=Performing(self.effects, self.log),
            consent=self.consent,
            effect_schemas={op: ParameterSchema.compile(schema) for op, schema in ARGUMENT_SCHEMAS.items()},
            breakers=Breakers(BreakerSettings(failures_max=self.failures_max), self.clock),
            audit=self.log,
            clock=self.clock,
            watch=self.watch,
        )
        self.pipeline.count(self.begun, self.judged)
        self.ground = self._ground()
        self.decisions = FakeDecisions()
        self.desk = Desk(
            admission=self.admission,
            ground=self.ground,
            children=self.children,
            running_max=self.running_max,
            quotas=self.quotas,
            decisions=self.decisions,
            log=self.log,
        )

    def _ground(self) -> Ground:
        return Ground(
            pipeline=self.pipeline,
            store=self.store,
            audit=self.log,
            workspaces=self.workspaces,
            subjects=self.subjects,
            approvals=self.approvals,
            consent=self.consent,
            clock=self.clock,
            limits=self.limits,
            slots=SharedSlots(self.steps_running_max, caps=self.quotas.slots),
            keys=ExclusiveKeys(),
            watch=self.watch,
            results=self.results,
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
        while running := self.desk._floor._running:
            await asyncio.wait([task for _, task in running.values()])

    async def run(self, form: Any, request_id: str = "r") -> Any:
        """Submit, wait for the end, and return the view."""
        submission = await self.submit(form, request_id)
        await self.settled()
        return await self.desk.get(ANN, submission.mission_id)

    def laws_hold(self) -> None:
        """Check the laws of the log; what was performed is in it, and so is a verdict for every attempt."""
        laws_hold(self.log.events)
        ours = {"file.write", "http.request"}  # the others are the gateway's own performers
        performed = Counter(e.details["key"] for e in self.log.of("effect.performed") if e.details["op"] in ours)
        if self.log.dead or any(point.startswith("audit.append") for point, _ in self.faults.plan):
            return
        untold = Counter(request.key for request in self.performer.performed)
        untold.subtract(performed)
        doubted = {e.details["key"] for e in self.log.of("effect.failed") if e.details["code"] == "effect.in_doubt"}
        assert all(count == 0 or (count > 0 and key in doubted) for key, count in untold.items())
        verdicts = Counter(
            e.target for e in self.log.events if e.event_type in VERDICTS and not e.details.get("again", False)
        )
        assert verdicts <= self.begun, "a verdict without an attempt"
        assert self.judged <= verdicts, "an attempt without a verdict"


VERDICTS = {"step.allowed", "step.refused"}
BEGINNINGS = {
    *(*VERDICTS, "step.held", "step.result_reused", "step.output_rewritten", "step.output_redacted"),
    *("effect.allowed", "effect.refused", "effect.held", "effect.intended"),
}
ENDS = {"mission.ended", "mission.interrupted", "mission.suspended"}
ACTORS = re.compile(r"s-[a-z2-7]{26}|anonymous|gateway|audit")
PRIVATE = ("mission.", "step.", "effect.", "approval.", "rpc.", "subject.")  # events with commitments
PUBLIC = {"bundle", "settings"}  # digests in them that are in the clear


class _Laws:
    """One pass over a log."""

    def __init__(self) -> None:
        self.admitted: set[str] = set()
        self.over: set[str] = set()
        self.ended: set[str] = set()  # steps, in the present run of their mission
        self.verdicts: set[str] = set()  # steps and items that have one, in the present run of their mission
        self.allowed: dict[str, Counter[str]] = {}  # those whose last one is a yes → operations still to be intended
        self.rewritten: dict[str, str] = {}  # digests of outputs, as rewrites and redaction left them
        self.approved: dict[str, str] = {}  # digests of what people have agreed to, by approval
        self.opened: dict[str, set[str]] = {}  # by step: rules that were passed over, and that no verdict names yet
        self.open_intents: set[str] = set()
        self.performed: set[str] = set()

    def take(self, event: Event) -> None:
        mission_id, _, step_id = event.target.partition("/")
        kind = event.event_type
        assert ACTORS.fullmatch(event.actor), f"{event}: an actor that is no pseudonym"
        if kind.startswith(PRIVATE):
            plain = [name for name, text in _texts(event.details) if text.startswith("sha256:")]
            assert set(plain) <= PUBLIC, f"{event}: a digest that can be guessed"
        if kind == "approval.decided" and event.details["state"] == "approved":
            self.approved[event.details["approval_id"]] = event.details["digest"]
        elif "approval" in event.details and kind.endswith((".allowed", ".cleared")):
            agreed = event.details["approval"]
            assert self.approved.get(agreed["id"]) == agreed["digest"], f"{event}: nobody has agreed to it"
        if kind == "mission.admitted":
            self.admitted.add(mission_id)
        elif kind in ENDS:
            assert mission_id not in self.over or kind == "mission.interrupted", f"{event}: a second end"
            self.over.add(mission_id)
        elif kind in {"mission.retried", "mission.resumed"}:
            self.admitted.add(mission_id)
            self.over.discard(mission_id)
            for names in (self.ended, self.verdicts):
                names -= {name for name in names if name.startswith(f"{mission_id}/")}
            self.rewritten = {name: of for name, of in self.rewritten.items() if not name.startswith(f"{mission_id}/")}
            self.allowed = {name: ops for name, ops in self.allowed.items() if not name.startswith(f"{mission_id}/")}
        elif kind == "constraint.violated" and step_id:
            assert mission_id in self.admitted, f"{event}: not admitted"
            if event.details["policy"] != "closed":  # a screen's: its verdict is to come, and a step's never is open
                self.opened.setdefault(event.target, set()).add(event.details["rule"])
        elif kind.startswith(("step.", "effect.")) and step_id:
            assert mission_id in self.admitted, f"{event}: not admitted"
            if kind in BEGINNINGS:
                assert mission_id not in self.over, f"{event}: begun after the end"
                assert event.target.partition("[")[0] not in self.ended, f"{event}: begun after the step's end"
            if kind.startswith("step."):
                self._step(event)
            else:
                self._effect(event)

    def _step(self, event: Event) -> None:
        screens = event.details.get("screens", [])
        words = [each["verdict"] for each in screens]
        assert "deny" not in words[:-1], f"{event}: asked on after a no"
        if event.event_type == "step.allowed":
            assert "deny" not in words, f"{event}: a no that was lifted"
        elif event.event_type == "step.output_rewritten":
            self.rewritten[event.target] = event.details["rewrites"][-1]["after"]
        elif event.event_type == "step.output_redacted":
            self.rewritten[event.target] = event.details["after"]
        if event.event_type == "step.ended":
            assert event.target not in self.ended, f"{event}: a second end"
            self.ended.add(event.target)
            if event.details["status"] == "Completed":
                assert event.target not in self.opened, f"{event}: only screens may be passed over"
                rewritten = self.rewritten.get(event.target, event.details["output"])
                assert event.details["output"] == rewritten, f"{event}: another output than the rewritten one"
                if event.target not in self.verdicts:
                    items = any(name.startswith(f"{event.target}[") for name in self.verdicts)
                    assert items, f"{event}: no verdict"
        elif event.event_type in VERDICTS:
            again = event.details.get("again", False)
            assert not again or event.target in self.allowed, f"{event}: asked again, and never before"
            before = self.allowed.pop(event.target, Counter())
            self.verdicts.add(event.target)
            passed_over = self.opened.pop(event.target, set())
            assert passed_over <= {each["hook"] for each in screens}, f"{event}: only screens may be passed over"
            if event.event_type == "step.allowed":
                self.allowed[event.target] = before if again else Counter()

    def _effect(self, event: Event) -> None:
        key, op = event.details.get("key"), event.details["op"]
        if event.event_type in BEGINNINGS:
            assert event.target in self.allowed, f"{event}: of a step that is not allowed"
        match event.event_type:
            case "effect.allowed":
                self.allowed[event.target][op] += not event.details.get("again", False)
            case "effect.refused":
                del self.allowed[event.target]  # the step ends with it
            case "effect.intended":
                assert key not in self.performed, f"{event}: it was performed before"
                assert self.allowed[event.target][op] > 0, f"{event}: nobody has allowed it"
                self.allowed[event.target][op] -= 1
                self.open_intents.add(key)
            case "effect.performed":
                assert key in self.open_intents, f"{event}: no open intent"
                assert key not in self.performed, f"{event}: performed twice"
                self.performed.add(key)
                self.open_intents.discard(key)
            case "effect.failed":
                self.open_intents.discard(key)


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in an event's details, and the name of what it is in."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield from _texts(member, key)
    elif isinstance(value, list):
        for element in value:
            yield from _texts(element, name)


def laws_hold(events: Iterable[Event], *, killed: bool = False) -> None:
    """Assert what gateway/events.py promises of a log's events; `killed` where the last of them may be missing."""
    laws = _Laws()
    for event in events:
        laws.take(event)
    if not killed:
        assert not laws.open_intents, "an intent without an end"


def step(step_id: str, *depends_on: str, kind: str = "pure", **fields: Any) -> dict[str, Any]:
    """Return a step; `batches`, `output`, `error` and other parameters by name."""
    names = ("continue_on_error", "timeout_seconds", "profile", "when", "foreach", "retry", "idempotent")
    own = {name: fields.pop(name) for name in names if name in fields}
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
