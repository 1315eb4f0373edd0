"""What the services need of the gateway, as protocols; assembly gives them the real ones."""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from engine.constraints.statistics import RuleStatistics
from engine.result import MissionState, StepResult
from engine.values import JsonObject
from gateway.auditing.queries import Found, Query
from gateway.bundles.entry import KeptBundle
from gateway.commitments import Evidence
from gateway.decisions.records import Filter
from gateway.decisions.replay import Change, Summary
from gateway.drafts import Draft
from gateway.identity import Principal
from gateway.missions.approval_view import ApprovalView
from gateway.missions.erasure import Erased
from gateway.missions.people import FoundSubject
from gateway.missions.subject_erasure import ErasedSubject
from gateway.missions.views import MissionEvent, MissionView, PlanPreview, Submission
from gateway.policy.engine import Entrypoint
from gateway.policy_views import Evaluation, PolicyStatus
from gateway.registry.placement import Placement
from gateway.registry.views import HookDetail, HookView, Published
from gateway.replay.outcome import StepOutcome
from gateway.sandbox.files import HookFiles
from gateway.store.statistics import ExecutionRow, ExecutionSummary, Period


class MissionDesk(Protocol):
    """Takes missions and reports on them. A foreign mission and a missing one are the same NotFoundError."""

    async def submit(
        self, principal: Principal, form: "bytes | JsonObject", request_id: str, *, until: float | None = None
    ) -> Submission:
        """Admit a mission and start it; what was admitted is not cancelled with the call.

        What is not admitted `until` then, in time of the loop, is given up.
        """

    async def check_draft(self, form: "bytes | JsonObject") -> Draft:
        """Say what is wrong in a mission that may not be finished, and what is not there yet."""

    async def plan(self, principal: Principal, form: "bytes | JsonObject") -> PlanPreview:
        """Say what `submit` would decide."""

    async def get(self, principal: Principal, mission_id: str, *, document: bool = False) -> MissionView:
        """Return one mission; with `document`, the canonical mission is in the view."""

    async def list_missions(
        self, principal: Principal, *, state: MissionState | None, page_size: int, page_token: str
    ) -> tuple[tuple[MissionView, ...], str]:
        """Return a page of the principal's missions, newest first, and the next page's token or ""."""

    def watch(self, principal: Principal, mission_id: str, from_index: int) -> AsyncIterator[MissionEvent]:
        """Yield events from an index on, until the mission has ended."""

    def results(self, principal: Principal, mission_id: str, *, offset: int, follow: bool) -> AsyncIterator[StepResult]:
        """Yield step results in the order in which they were saved; with `follow`, until the mission has ended."""

    async def cancel(self, principal: Principal, mission_id: str, reason: str) -> MissionView:
        """Cancel a mission."""

    async def pause(self, principal: Principal, mission_id: str, reason: str) -> MissionView:
        """Let nothing new start.

        Raises:
            ConflictError: `mission.ended`, `mission.paused`.
        """

    async def resume(self, principal: Principal, mission_id: str) -> MissionView:
        """Let a paused mission go on.

        Raises:
            ConflictError: `mission.ended`, `mission.not_paused`.
        """

    async def retry(self, principal: Principal, mission_id: str, *, repeat_in_doubt: bool) -> MissionView:
        """Begin an ended mission anew, keeping what it has completed.

        Raises:
            ConflictError: `mission.not_ended`, `mission.succeeded`.
        """

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
        """Record a decision; it is durable before this returns. `seen` is what `approved_by` said to policy.

        Raises:
            PolicyDeniedError, ConflictError: as `gateway.missions.approval_rules.require_decidable`.
        """

    async def list_approvals(
        self, principal: Principal, mission_id: str | None, *, pending_only: bool
    ) -> tuple[ApprovalView, ...]:
        """Return the approvals of one mission, or of all of the principal's tenant, oldest first."""

    async def owner(self, mission_id: str) -> JsonObject | None:
        """Return `{"tenant","submitter","submitter_roles"}` of a mission for the rpc decision, or None."""

    async def approved_by(self, mission_id: str, approval_id: str) -> tuple[str, ...] | None:
        """Return who has approved something else of a mission, or None where it has no such approval."""


class PrivacyDesk(Protocol):
    """Erases what is kept."""

    async def erase(self, principal: Principal, mission_id: str, reason: str) -> Erased:
        """Erase what is kept of a mission and of its parts; what has begun is not cancelled with the call.

        Raises:
            ConflictError: `mission.not_ended`, `mission.part`.
        """


class PeopleDesk(Protocol):
    """Knows people by their pseudonyms, and erases them. Those of another tenant and nobody are one NotFoundError."""

    async def erase(self, principal: Principal, tenant: str, subject: str, reason: str) -> ErasedSubject:
        """Erase a person; what has begun is not cancelled with the call.

        Raises:
            ConflictError: `subject.missions_running`.
        """

    async def by_pseudonym(self, principal: Principal, pseudonym: str) -> FoundSubject:
        """Return who a pseudonym is; that it was asked for is recorded."""

    async def by_name(self, principal: Principal, tenant: str, subject: str) -> FoundSubject:
        """Return the pseudonym of somebody; that it was asked for is recorded."""


class HookDesk(Protocol):
    """The registry of hooks; `gateway.registry.visible.VisibleHooks` is one, and says what each call raises."""

    async def publish(self, principal: Principal, files: HookFiles) -> Published:
        """Take a hook into the registry; what was taken is not cancelled with the call."""

    async def list_hooks(
        self, principal: Principal, *, page_size: int, page_token: str
    ) -> tuple[tuple[HookView, ...], str]:
        """Return a page of the versions that the caller sees, and the next page's token or ""."""

    async def get(self, principal: Principal, name: str, version: str) -> HookDetail:
        """Return one version; "" is the one in force, or else the newest that the caller sees."""

    async def enable(self, principal: Principal, name: str, version: str, placement: Placement) -> HookView:
        """Put a published version in force."""

    async def disable(self, principal: Principal, name: str, version: str) -> None:
        """Take a published hook out of force; with a version, only that one."""

    async def rollback(self, principal: Principal, name: str, version: str) -> HookView | None:
        """Let hold again what held for a name before, None where that was nothing; with a version, only that one's."""


class PolicyDesk(Protocol):
    """Bundles, what they would say, and which is in force; `gateway.policy_desk.PolicyDesk` says what each raises."""

    async def evaluate(self, entrypoint: Entrypoint, document: bytes, bundle: str, *, explain: bool) -> Evaluation:
        """Say what a bundle decides about a document; "" is the one in force."""

    async def publish(self, principal: Principal, archive: bytes) -> tuple[KeptBundle, bool]:
        """Take a bundle, and say whether it is new; what was taken is not cancelled with the call."""

    def bundles(self) -> tuple[KeptBundle, ...]:
        """Return the bundles that are kept, the newest first."""

    def status(self) -> PolicyStatus:
        """Return what is in force, and where it comes from."""

    async def activate(self, principal: Principal, bundle: str) -> KeptBundle:
        """Put a kept bundle in force, and hold it against the source."""

    async def rollback(self, principal: Principal, digest: str) -> KeptBundle:
        """Put in force what was so before; with a digest, only where that one is in force."""

    async def follow_source(self, principal: Principal, *, allow_older: bool) -> KeptBundle:
        """Let the source decide again; with `allow_older`, also where it is behind what was in force."""

    def replay(self, bundle: str, wanted: Filter) -> AsyncGenerator[Change | Summary, None]:
        """Yield each recorded decision that another bundle would not give, and at the end how many there were."""


class StatisticsDesk(Protocol):
    """Counts what there was; `gateway.statistics_desk.StatisticsDesk` says what each call raises."""

    def now(self) -> datetime:
        """Return the end of a time that names none."""

    async def summaries(self, principal: Principal, period: Period) -> tuple[ExecutionSummary, ExecutionSummary]:
        """Return what the missions of the principal's tenant came to, and what their steps did."""

    async def executions(
        self,
        principal: Principal,
        *,
        since: datetime,
        until: datetime,
        kind: str,
        status: str,
        page_size: int,
        page_token: str,
    ) -> tuple[Sequence[ExecutionRow], str]:
        """Return a page of steps that have ended, the newest first, and the next page's token or ""."""

    def constraints(self) -> Mapping[str, RuleStatistics]:
        """Return what each rule has used."""


class Pseudonyms(Protocol):
    """Knows how the log names a caller; `gateway.subjects.subjects.Subjects` does."""

    async def known(self, principal: Principal) -> Principal:
        """Return the principal with its pseudonym, which is durable.

        Raises:
            FaultError: it cannot be had; the call is refused.
        """


class RpcGate(Protocol):
    """Decides every call."""

    @property
    def bundle(self) -> str:
        """Digest of the bundle that decides now."""

    async def authorize(
        self, principal: Principal, service: str, method: str, resource: JsonObject, reading: Evidence | None = None
    ) -> None:
        """Return if `data.gateway.rpc.decision` allows the call; the refusal is recorded, and so is a read of the log.

        Raises:
            PolicyDeniedError: policy said no.
            OverloadedError: the principal has caused too many events.
            FaultError: no decision could be had.
        """

    def failed(self, principal: Principal, service: str, method: str, error: Exception) -> None:
        """Count that a call which was allowed has failed."""


class MissionReplays(Protocol):
    """Runs recorded missions again; `gateway.replay.replays.Replays` is one."""

    def replay(
        self, principal: Principal, mission_id: str, steps: Collection[str]
    ) -> AsyncGenerator[StepOutcome, None]:
        """Yield what each step comes to."""


class AuditReader(Protocol):
    """Reads the log."""

    @property
    def size(self) -> int:
        """Number of events that the newest signed checkpoint covers."""

    @property
    def first(self) -> int:
        """Seq of the oldest line that is still here."""

    def checkpoint(self) -> bytes:
        """Return the newest signed checkpoint."""

    def witnessed(self) -> bytes | None:
        """Return the newest checkpoint that a quorum of witnesses has cosigned."""

    def read(self, start: int, count: int) -> Iterator[bytes]:
        """Yield covered lines without LF, from one that is still here."""

    def prove_inclusion(self, seq: int, size: int) -> tuple[bytes, ...]:
        """Return the RFC 6962 audit path of an event in the tree of `size` covered events."""

    def prove_consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """Return the RFC 6962 consistency proof between two covered sizes."""

    def verifier_keys(self) -> tuple[str, ...]:
        """Return the C2SP verifier keys."""

    def record_end(self, principal: Principal, method: str, details: JsonObject) -> None:
        """Let the log say how far a read has got that began long ago."""


class EventFinder(Protocol):
    """Finds events; `gateway.auditing.queries.EventQueries` is one, and says what each call raises."""

    def find(self, query: Query) -> AsyncGenerator[Found, None]:
        """Yield what matches, in the order of seq."""

    async def place_of(self, event_id: str) -> int | None:
        """Return the seq of the event with an id."""

    async def tenant_of(self, seq: int) -> str | None:
        """Return whose an event is, None where it is no tenant's."""


class ActorNames(Protocol):
    """Knows how events name people."""

    async def actor_named(self, tenant: str, text: str) -> str:
        """Return the actor whom somebody of a tenant calls `TENANT/SUBJECT`: never the name, which the log is told."""
