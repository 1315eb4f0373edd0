"""Fakes that implement the ports of production, for tests of what stands in front of them."""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from engine.errors import FaultError, Violation
from engine.result import MissionState, StepResult
from engine.values import JsonObject
from gateway.auditing.queries import Found, Query
from gateway.bundles.entry import BundleStatus, KeptBundle, SourceFailure
from gateway.bundles.entry import Entry as BundleEntry
from gateway.commitments import Evidence
from gateway.decisions.records import Filter
from gateway.decisions.replay import Change, Summary
from gateway.drafts import Draft
from gateway.errors import ConflictError, NotFoundError
from gateway.identity import Principal
from gateway.missions.approval_view import ApprovalView
from gateway.missions.erasure import Erased
from gateway.missions.people import FoundSubject
from gateway.missions.subject_erasure import ErasedSubject
from gateway.missions.views import MissionEvent, MissionView, PlanPreview, Submission
from gateway.policy.decision import Decision
from gateway.policy.engine import Entrypoint
from gateway.policy_views import Evaluation, PolicyStatus, ShadowView
from gateway.registry.placement import Placement
from gateway.registry.views import HookDetail, HookView, Published
from gateway.replay.outcome import Reason, StepOutcome, Verdict
from gateway.sandbox.files import HookFiles
from gateway.subjects.subjects import Name

MOMENT = datetime(2026, 7, 1, 12, 30, 15, 250_000, tzinfo=UTC)
DECISION = Decision(allow=True, bundle="sha256:" + "b" * 64)
DIGEST = "sha256:" + "d" * 64
PSEUDONYM = "s-" + "a" * 26


def view(mission_id: str = "m-1", **changes: object) -> MissionView:
    """Return the view of a mission that runs."""
    fields: dict[str, object] = {
        "mission_id": mission_id,
        "name": "quarterly report",
        "state": MissionState.EXECUTING,
        "digest": DIGEST,
        "submitter": "ann",
        "tenant": "default",
        "created_at": MOMENT,
        "ended_at": None,
        "steps_total": 2,
        "result": None,
    }
    return MissionView(**{**fields, **changes})


def step_result(step_id: str, status: str = "Completed", **changes: object) -> dict[str, object]:
    """Return a step's result as `StepResult.document` spells it."""
    return {
        "step_id": step_id,
        "status": status,
        "output": {"path": f"out/{step_id}.txt"},
        "duration_ms": 1.5,
        "timestamp": "2026-07-01T12:30:16.000000Z",
        "attempts": 1,
        **changes,
    }


def ended(mission_id: str = "m-1", *steps: dict[str, object], status: str = "Success") -> MissionView:
    """Return the view of a mission that has ended."""
    results = steps or (step_result("a"), step_result("b"))
    words = [str(step["status"]) for step in results]
    result: JsonObject = {
        "mission_id": mission_id,
        "state": "Completed" if status == "Success" else "Failed",
        "overall_status": status,
        "start_time": "2026-07-01T12:30:15.000000Z",
        "end_time": "2026-07-01T12:30:17.000000Z",
        "total_duration_ms": 2000.0,
        "steps_completed": words.count("Completed"),
        "steps_failed": words.count("Failed"),
        "steps_skipped": words.count("Skipped"),
        "step_results": {str(step["step_id"]): step for step in results},
        "audit_summary": {"events_logged": 7, "integrity_verified": True},
    }
    state = MissionState.COMPLETED if status == "Success" else MissionState.FAILED
    return view(mission_id, state=state, ended_at=MOMENT, result=result, steps_total=len(results))


def event(index: int, kind: str = "step.executing", step_id: str = "a", **details: object) -> MissionEvent:
    """Return one event."""
    return MissionEvent(index=index, timestamp=MOMENT, kind=kind, step_id=step_id, details=details)


def approval(approval_id: str = "a-1", mission_id: str = "m-1", **changes: object) -> ApprovalView:
    """Return an approval that waits for a decision."""
    fields: dict[str, object] = {
        "approval_id": approval_id,
        "mission_id": mission_id,
        "step_id": "release",
        "item": None,
        "digest": DIGEST,
        "message": "Publish draft.txt?",
        "approvers": ("approver",),
        "state": "pending",
        "requested_at": MOMENT,
        "expires_at": MOMENT + timedelta(hours=1),
        "decided_at": None,
        "decided_by": "",
        "comment": "",
    }
    return ApprovalView(**{**fields, **changes})


@dataclass
class FakeDesk:
    """A desk of prepared answers. `fault` is raised by every call; `fault_after` that many events by `watch`.

    `breaks` holds, for each watch that is to come, how many events it gives before its stream is torn.
    """

    missions: dict[str, MissionView] = field(default_factory=dict)
    events: list[MissionEvent] = field(default_factory=list)
    approvals: list[ApprovalView] = field(default_factory=list)
    results_: list[StepResult] = field(default_factory=list)
    fault: BaseException | None = None
    breaks: list[int] = field(default_factory=list)
    fault_after: int | None = None
    idle: bool = False  # `watch` never ends by itself
    block: asyncio.Event | None = None  # `submit` waits for it
    forms: list[bytes | JsonObject] = field(default_factory=list)
    seen: list[Collection[str] | None] = field(default_factory=list)  # by each decision on an approval
    callers: list[Principal] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)  # page tokens and reasons, as they came
    untils: list[float | None] = field(default_factory=list)  # when a submission is given up
    watchers: int = 0
    produced: int = 0  # events that watchers have taken

    async def submit(
        self, principal: Principal, form: bytes | JsonObject, request_id: str, *, until: float | None = None
    ) -> Submission:
        self._called(principal)
        self.forms.append(form)
        self.untils.append(until)
        if self.block is not None:
            await self.block.wait()
        return Submission(mission_id=f"m-{request_id}", digest=DIGEST, created=True, decision=DECISION)

    async def erase(self, principal: Principal, mission_id: str, reason: str) -> Erased:
        view = await self.get(principal, mission_id)
        self.asked.append(reason)
        return Erased(mission_id=view.mission_id, erased_at=MOMENT, missions=3, decisions=4)

    async def check_draft(self, form: bytes | JsonObject) -> Draft:
        self.forms.append(form)
        missing = Violation(code="schema.required", message="is missing", field="steps[0].parameters.url", line=3)
        return Draft(wrong=(), missing=(missing,))

    async def plan(self, principal: Principal, form: bytes | JsonObject) -> PlanPreview:
        self._called(principal)
        self.forms.append(form)
        return PlanPreview(mission={"name": "é"}, digest=DIGEST, levels=(("a", "b"), ("c",)), decision=DECISION)

    async def get(self, principal: Principal, mission_id: str, *, document: bool = False) -> MissionView:
        self._called(principal)
        found = self._own(principal, mission_id)
        return found if document else replace(found, mission=None)

    async def list_missions(
        self, principal: Principal, *, state: MissionState | None, page_size: int, page_token: str
    ) -> tuple[tuple[MissionView, ...], str]:
        self._called(principal)
        self.asked.append(page_token)
        chosen = [m for m in self.missions.values() if state is None or m.state is state]
        return tuple(chosen[: page_size or 50]), "more" if page_size and len(chosen) > page_size else ""

    async def watch(self, principal: Principal, mission_id: str, from_index: int) -> AsyncIterator[MissionEvent]:
        self._called(principal)
        self._own(principal, mission_id)
        self.watchers += 1
        self.asked.append(f"from {from_index}")
        left = self.breaks.pop(0) if self.breaks else None
        try:
            for each in self.events[from_index:]:
                if self.fault_after is not None and each.index >= self.fault_after:
                    raise ValueError("secret of the stream")
                if left == 0:
                    raise FaultError("the stream is torn")
                left = None if left is None else left - 1
                self.produced += 1
                yield each
            if self.idle:
                await asyncio.Event().wait()
        finally:
            self.watchers -= 1

    async def cancel(self, principal: Principal, mission_id: str, reason: str) -> MissionView:
        self._called(principal)
        self.asked.append(reason)
        return self._own(principal, mission_id)

    async def pause(self, principal: Principal, mission_id: str, reason: str) -> MissionView:
        self.asked.append(reason)
        return self._changed(principal, mission_id, paused=True)

    async def resume(self, principal: Principal, mission_id: str) -> MissionView:
        return self._changed(principal, mission_id, paused=False)

    async def retry(self, principal: Principal, mission_id: str, *, repeat_in_doubt: bool) -> MissionView:
        self.asked.append(f"repeat_in_doubt {repeat_in_doubt}")
        run = self._own(principal, mission_id).run + 1
        return self._changed(principal, mission_id, run=run)

    async def decide_approval(
        self,
        principal: Principal,
        mission_id: str,
        approval_id: str,
        *,
        approve: bool,
        digest: str,
        comment: str,
        seen: Collection[str] | None = None,
    ) -> ApprovalView:
        self._called(principal)
        self.seen.append(seen)
        self._own(principal, mission_id)
        for at, each in enumerate(self.approvals):
            if (each.mission_id, each.approval_id) == (mission_id, approval_id):
                if each.digest != digest:
                    raise ConflictError("another digest", code="approval.digest_mismatch")
                state = "approved" if approve else "denied"
                self.approvals[at] = replace(
                    each, state=state, decided_by=principal.subject, decided_at=MOMENT, comment=comment
                )
                return self.approvals[at]
        raise NotFoundError("there is no such approval", code="approval.not_found")

    async def list_approvals(
        self, principal: Principal, mission_id: str | None, *, pending_only: bool
    ) -> tuple[ApprovalView, ...]:
        self._called(principal)
        if mission_id is not None:
            self._own(principal, mission_id)
        chosen = [each for each in self.approvals if mission_id in {None, each.mission_id}]
        return tuple(each for each in chosen if not pending_only or each.state == "pending")

    async def results(
        self, principal: Principal, mission_id: str, *, offset: int, follow: bool
    ) -> AsyncIterator[StepResult]:
        self._called(principal)
        self._own(principal, mission_id)
        self.watchers += 1
        try:
            for each in self.results_[offset:]:
                yield each
            if follow and self.idle:
                await asyncio.Event().wait()
        finally:
            self.watchers -= 1

    async def owner(self, mission_id: str) -> JsonObject | None:
        found = self.missions.get(mission_id)
        if found is None:
            return None
        return {"tenant": found.tenant, "submitter": found.submitter, "submitter_roles": ["submitter"]}

    async def approved_by(self, mission_id: str, approval_id: str) -> tuple[str, ...] | None:
        of_mission = [each for each in self.approvals if each.mission_id == mission_id]
        if approval_id not in {each.approval_id for each in of_mission}:
            return None
        others = (each for each in of_mission if each.approval_id != approval_id and each.state == "approved")
        return tuple(sorted({each.decided_by for each in others}))

    def _own(self, principal: Principal, mission_id: str) -> MissionView:
        """Refuse as carelessly as a desk may: with texts that tell a foreign mission from a missing one."""
        found = self.missions.get(mission_id)
        if found is None:
            raise NotFoundError("there is no such mission", code="mission.not_found")
        if found.tenant != principal.tenant:
            raise NotFoundError(f"{mission_id} belongs to {found.tenant}", code="mission.not_found")
        return found

    def _changed(self, principal: Principal, mission_id: str, **changes: object) -> MissionView:
        self._called(principal)
        self.missions[mission_id] = replace(self._own(principal, mission_id), **changes)
        return self.missions[mission_id]

    def _called(self, principal: Principal) -> None:
        self.callers.append(principal)
        if self.fault is not None:
            raise self.fault


def hook_view(name: str = "resize", version: str = "1.0.0", **changes: object) -> HookView:
    """Return the view of a published step."""
    fields: dict[str, object] = {
        "name": name,
        "version": version,
        "kind": "step",
        "publisher": "example.com/hooks",
        "sha256": "a" * 64,
        "enabled": False,
        "labels": {},
        "published_at": MOMENT,
        "published_by": "default/ann",
    }
    return HookView(**{**fields, **changes})


class FakeHooks:
    """Implements `HookDesk`: remembers what was asked, and answers with `view`."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.callers: list[Principal] = []  # of what is looked at
        self.view = hook_view()
        self.pages: list[tuple[HookView, ...]] = []
        self.error: Exception | None = None

    async def publish(self, principal: Principal, files: HookFiles) -> Published:
        self._called("publish", principal.subject, files)
        return Published(view=self.view, created=True)

    async def list_hooks(
        self, principal: Principal, *, page_size: int, page_token: str
    ) -> tuple[tuple[HookView, ...], str]:
        self.callers.append(principal)
        self._called("list", page_size, page_token)
        pages = self.pages or [(self.view,)]
        at = int(page_token or 0)
        return pages[at], str(at + 1) if at + 1 < len(pages) else ""

    async def get(self, principal: Principal, name: str, version: str) -> HookDetail:
        self.callers.append(principal)
        self._called("get", name, version)
        return HookDetail(view=self.view, manifest=b"manifest", schema=b"schema")

    async def enable(self, principal: Principal, name: str, version: str, placement: Placement) -> HookView:
        self._called("enable", principal.subject, name, version, placement)
        return replace(self.view, enabled=True)

    async def disable(self, principal: Principal, name: str, version: str) -> None:
        self._called("disable", principal.subject, name, version)

    async def rollback(self, principal: Principal, name: str, version: str) -> HookView | None:
        self._called("rollback", principal.subject, name, version)
        return None

    def _called(self, *call: object) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error


def kept_bundle(**changes: object) -> KeptBundle:
    """Return a bundle that is kept."""
    fields: dict[str, object] = {
        "digest": "sha256:" + "b" * 64,
        "revision": "next-2",
        "sequence": 7,
        "origin": "published",
        "by": "default/ann",
        "at": MOMENT,
        "signed_by": "k1",
        "archive": "sha256:" + "a" * 64,
        "archive_bytes": 9,
    }
    entry = BundleEntry(**{**fields, **changes})  # type: ignore[arg-type]
    return KeptBundle(entry=entry, active=False, previous=True)


class FakePolicyDesk:
    """Implements `PolicyDesk`: remembers what was asked, and answers with `kept`."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.kept = kept_bundle()
        self.error: Exception | None = None
        self.changes: list[Change] = []
        self.shadow: ShadowView | None = None
        self.failure: SourceFailure | None = None
        self.created = True

    async def evaluate(self, entrypoint: Entrypoint, document: bytes, bundle: str, *, explain: bool) -> Evaluation:
        self._called("evaluate", entrypoint, document, bundle, explain)
        return Evaluation(decision=DECISION, explanation={"why": "so"} if explain else None)

    async def publish(self, principal: Principal, archive: bytes) -> tuple[KeptBundle, bool]:
        self._called("publish", principal.subject, archive)
        return self.kept, self.created

    def bundles(self) -> tuple[KeptBundle, ...]:
        self._called("bundles")
        plain = kept_bundle(digest="sha256:" + "c" * 64, revision="", sequence=None, signed_by=None, origin="initial")
        return (self.kept, replace(plain, active=True, previous=False))

    def status(self) -> PolicyStatus:
        self._called("status")
        bundles = BundleStatus(
            active=self.kept.entry,
            pinned=True,
            source="https://bundles.example/b.tar.gz",
            confirmed_at=None if self.failure else MOMENT,
            age_seconds=1.0,
            stale=self.failure is not None,
            failure=self.failure,
            mark=None,
        )
        return PolicyStatus(
            bundles=bundles, engine="regorus", mode="enforce", shadow=self.shadow, cache_hits=3, cache_misses=4
        )

    async def activate(self, principal: Principal, bundle: str) -> KeptBundle:
        self._called("activate", principal.subject, bundle)
        return replace(self.kept, active=True)

    async def rollback(self, principal: Principal, digest: str) -> KeptBundle:
        self._called("rollback", principal.subject, digest)
        return replace(self.kept, active=True)

    async def follow_source(self, principal: Principal, *, allow_older: bool) -> KeptBundle:
        self._called("follow", principal.subject, allow_older)
        return replace(self.kept, active=True)

    async def replay(self, bundle: str, wanted: Filter) -> AsyncGenerator[Change | Summary, None]:
        self._called("replay", bundle, wanted)
        summary = Summary(asked=5, same=5 - len(self.changes))
        for change in self.changes:
            summary.counts[change.kind] += 1
            yield change
        yield summary

    def _called(self, *call: object) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error


@dataclass
class FakeGate:
    """Allows every call, and remembers it, unless `verdict` raises."""

    verdict: Callable[[Principal, str, str, JsonObject], None] | None = None
    asked: list[tuple[Principal, str, str, JsonObject]] = field(default_factory=list)
    readings: list[Evidence] = field(default_factory=list)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    bundle: str = "sha256:of-the-fake"

    async def authorize(
        self, principal: Principal, service: str, method: str, resource: JsonObject, reading: Evidence | None = None
    ) -> None:
        self.asked.append((principal, service, method, dict(resource)))
        self.readings.append(dict(reading or {}))
        if self.verdict is not None:
            self.verdict(principal, service, method, resource)

    def failed(self, principal: Principal, service: str, method: str, error: Exception) -> None:
        self.failures.append((principal.subject, f"{service}/{method}", getattr(error, "code", "internal")))


@dataclass
class FakeAudit:
    """A log of prepared lines: implements `AuditReader`, `EventFinder` and `ActorNames`."""

    lines: list[bytes] = field(default_factory=list)
    taken: int = 0
    first: int = 0
    cosigned: bytes | None = None
    pages: list[Found] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    ends: list[JsonObject] = field(default_factory=list)
    idle: bool = False  # a followed query goes on for ever

    @property
    def size(self) -> int:
        return len(self.lines)

    def checkpoint(self) -> bytes:
        return note_of(self.size)

    def witnessed(self) -> bytes | None:
        return self.cosigned

    def read(self, start: int, count: int) -> Iterator[bytes]:
        for line in self.lines[start : start + count]:
            self.taken += 1
            yield line

    def prove_inclusion(self, seq: int, size: int) -> tuple[bytes, ...]:
        return (bytes([seq]) * 32, bytes([size]) * 32)

    def prove_consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        return (bytes([old]) * 32, bytes([new]) * 32)

    def verifier_keys(self) -> tuple[str, ...]:
        return ("log+01+key",)

    def record_end(self, principal: Principal, method: str, details: JsonObject) -> None:
        self.ends.append({"subject": principal.subject, "method": method, **details})

    async def find(self, query: Query) -> AsyncGenerator[Found, None]:
        self.queries.append(query)
        for page in self.pages:
            yield page
        if self.idle:
            await asyncio.Event().wait()

    async def place_of(self, event_id: str) -> int | None:
        return next((seq for seq, line in enumerate(self.lines) if event_id.encode() in line), None)

    async def tenant_of(self, seq: int) -> str | None:
        return "default" if seq % 2 == 0 else "other"

    async def actor_named(self, tenant: str, text: str) -> str:
        return f"<{tenant} {text}>"


def note_of(size: int) -> bytes:
    """Return what looks like a checkpoint of `size` events."""
    return f"log\n{size}\n{base64.b64encode(bytes(32)).decode()}\n\n— log AAAA\n".encode()


class FakeReplays:
    """Says of two steps what a replay can say, of any mission."""

    async def replay(
        self, principal: Principal, mission_id: str, steps: Collection[str]
    ) -> AsyncGenerator[StepOutcome, None]:
        self.asked = (principal, mission_id, steps)
        yield StepOutcome(step_id="a", verdict=Verdict.SAME, rounds=2)
        yield StepOutcome(
            step_id="b", verdict=Verdict.DIFFERS, reason=Reason.OUTPUT, message="m", recorded="r", replayed="p", item=0
        )


class FakePeople:
    """Knows one person, ann of the tenant default."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    async def erase(self, principal: Principal, tenant: str, subject: str, reason: str) -> ErasedSubject:
        self.asked.append((tenant, subject, reason))
        self._require(principal, tenant, subject)
        return ErasedSubject(pseudonym=PSEUDONYM, missions=2, decisions=3)

    async def by_pseudonym(self, principal: Principal, pseudonym: str) -> FoundSubject:
        self.asked.append((pseudonym,))
        self._require(principal, "", "ann" if pseudonym == PSEUDONYM else "")
        return FoundSubject(pseudonym=pseudonym, name=Name("default", "ann"))

    async def by_name(self, principal: Principal, tenant: str, subject: str) -> FoundSubject:
        self.asked.append((tenant, subject))
        self._require(principal, tenant, subject)
        return FoundSubject(pseudonym=PSEUDONYM, name=Name("default", "ann"))

    def _require(self, principal: Principal, tenant: str, subject: str) -> None:
        if ((tenant or principal.tenant), subject) != ("default", "ann"):
            raise NotFoundError("there is nobody of this name", code="subject.not_found")
