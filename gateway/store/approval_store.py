"""The approvals of a store, for the loop."""

from collections.abc import Collection, Sequence
from datetime import datetime

from engine.clock import Clock
from gateway.store import approvals
from gateway.store.approval_records import ApprovalRecord, ApprovalState, NewApproval
from gateway.store.master_keys import MasterKeys
from gateway.store.reader import Reader
from gateway.store.sealing import Sealer
from gateway.store.writer import GroupCommitWriter


class ApprovalStore:
    """The part of `gateway.store.store.Store` that is about approvals."""

    def __init__(self, writer: GroupCommitWriter, reader: Reader, clock: Clock, masters: MasterKeys) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._sealer = Sealer(masters)  # of the writer's thread
        self._opener = Sealer(masters)  # of the reader's

    @property
    def dead(self) -> bool:
        """Whether it has to be opened anew before it takes anything."""
        return self._writer.dead

    async def create_approval(self, approval: NewApproval) -> ApprovalRecord:
        """Record a request, or return the one that has its effect key, whatever became of it."""
        return await self._writer.submit(lambda c: approvals.create_approval(c, self._sealer, approval))

    async def get_approval(self, approval_id: str) -> ApprovalRecord:
        """Return one approval.

        Raises:
            NotFoundError: there is none. Whether a principal may see it is the caller's question.
        """
        return await self._reader.run(lambda c: approvals.get_approval(c, self._opener, approval_id))

    async def list_approvals(
        self, tenant: str, mission_id: str | None, *, pending_only: bool
    ) -> tuple[ApprovalRecord, ...]:
        """Return the approvals of a tenant, or of one mission of it: the newest APPROVALS_MAX, oldest first."""
        return await self._reader.run(
            lambda c: approvals.list_approvals(c, self._opener, tenant, mission_id, pending_only=pending_only)
        )

    async def approved_by(self, approval_id: str) -> tuple[str, ...]:
        """Return who has said yes to another approval of the same mission, its parts and its whole included."""
        return await self._reader.run(lambda c: approvals.approved_by(c, approval_id))

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
        """Record the end of a pending approval, now.

        Args:
            approval_id: which.
            state: its end.
            by: who decided; None where nobody did.
            comment: theirs.
            roles: those of who decided.
            seen: what `approved_by` said before.

        Raises:
            ConflictError: `approval.decided`, it is not pending; `approval.raced`, `by` is newly among those.
            NotFoundError: there is none.
            StoreError: `store.constraint`, approved or denied by nobody, or expired or withdrawn by somebody.
        """
        now = self._now()
        return await self._writer.submit(
            lambda c: approvals.decide_approval(c, self._sealer, approval_id, state, by, comment, roles, now, seen)
        )

    def _now(self) -> datetime:
        return self._clock.now()
