"""What approvals and sub-missions need of the store and of the desk, and nothing else."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final, Protocol, TypeAlias

from engine.result import MissionState, OverallStatus, StepFailure, StepResult
from engine.values import JsonObject
from gateway.identity import Principal
from gateway.missions.views import Submission
from gateway.store.approval_records import ApprovalRecord, ApprovalState, NewApproval
from gateway.store.records import StoredEvent

STOPPING: Final = "gateway.stopping"  # the code of what is refused because the gateway stops

# Tells the watchers of a mission that a step of it waits, or no longer: mission id, step id ("": the mission itself),
# kind of event, details. Never blocks, never raises.
Tell: TypeAlias = Callable[[str, str, str, JsonObject], None]


class MissionFacts(Protocol):
    """What is asked about a recorded mission; `gateway.store.records.MissionRecord` has it."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def tenant(self) -> str:
        """Whose it is."""

    @property
    def submitter(self) -> str:
        """The subject of the principal that submitted it."""

    @property
    def run(self) -> int:
        """How often it was begun, retries of the whole mission included; from 1."""

    @property
    def parent_id(self) -> str | None:
        """The mission of which it is a part."""

    @property
    def root_id(self) -> str:
        """The outermost mission of which it is a part; its own id where it is none."""

    @property
    def depth(self) -> int:
        """How many missions it is inside of."""

    @property
    def steps_total(self) -> int:
        """The number of its steps."""

    @property
    def state(self) -> MissionState:
        """Where it stands."""

    @property
    def overall_status(self) -> OverallStatus | None:
        """How it ended; None while it has not."""

    @property
    def started_at(self) -> datetime | None:
        """When its present run began; None before."""

    @property
    def ended_at(self) -> datetime | None:
        """When it ended; None while it has not."""

    @property
    def error(self) -> StepFailure | None:
        """Why it ended, where no step is to blame."""


class Missions(Protocol):
    """Looks missions up."""

    async def get_mission(self, mission_id: str) -> MissionFacts:
        """Return one mission.

        Raises:
            NotFoundError: there is none.
        """


class MissionKeys(Protocol):
    """Looks the keys of missions up."""

    async def mission_key(self, mission_id: str) -> bytes:
        """Return the key of a mission's payloads, from which that of its commitments comes.

        Raises:
            NotFoundError: there is no such mission, or its key is erased.
        """


class ApprovalStore(Missions, MissionKeys, Protocol):
    """Where approvals are kept."""

    async def create_approval(self, approval: NewApproval) -> ApprovalRecord:
        """Record a request, or return the one that has its effect key."""

    async def get_approval(self, approval_id: str) -> ApprovalRecord:
        """Return one approval.

        Raises:
            NotFoundError: there is none.
        """

    async def list_approvals(
        self, tenant: str, mission_id: str | None, *, pending_only: bool
    ) -> tuple[ApprovalRecord, ...]:
        """Return the approvals of a tenant, or of one mission of it, oldest first."""

    async def approved_by(self, approval_id: str) -> tuple[str, ...]:
        """Return who has said yes to another approval of the same mission, its parts and its whole included."""

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
        """Record the end of a pending approval.

        Args:
            approval_id: which.
            state: its end.
            by: who decided; None where nobody did.
            comment: theirs.
            roles: those of who decided.
            seen: what `approved_by` said before.

        Raises:
            ConflictError: `approval.decided`, it is not pending; `approval.raced`, `by` is newly among those.
        """


class ChildStore(Missions, Protocol):
    """Where the outputs of sub-missions are, and their events."""

    async def events(self, mission_id: str, from_index: int) -> tuple[StoredEvent, ...]:
        """Return a page of a mission's events; an empty one is the end."""

    async def children(self, mission_id: str) -> tuple[MissionFacts, ...]:
        """Return the missions that are parts of this one, one level deep."""

    async def step_results(self, mission_id: str, *, offset: int = 0) -> tuple[StepResult, ...]:
        """Return a page of the results of a mission; an empty one is the end."""


class ChildDesk(Protocol):
    """What runs sub-missions; `gateway.missions.desk.Desk` is one."""

    @property
    def suspending(self) -> bool:
        """Whether missions are being stopped so that the next start of the gateway goes on with them."""

    async def submit_child(
        self, parent_id: str, caller: Principal, taint: frozenset[str], form: JsonObject, request_id: str
    ) -> Submission:
        """Admit and start a mission as a part of another, or return the one that has this request id.

        `taint` are the labels of the data that the parent's step has filled it with.
        """

    async def ended(self, mission_id: str) -> MissionFacts:
        """Return the mission once it has ended; where it is suspended, never."""

    async def cancel_own(self, mission_id: str, reason: str) -> object:
        """Cancel a mission for the gateway's own reasons; one that has ended is left as it is."""

    async def retry_own(self, mission_id: str) -> object:
        """Begin an ended mission anew, keeping what it has completed."""
