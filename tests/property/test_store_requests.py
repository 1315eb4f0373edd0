"""Request ids, as a state machine: whatever is submitted in whatever order, restarts included."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.clock import SystemClock
from gateway.errors import ConflictError
from gateway.store.records import NewMission
from gateway.store.store import Store
from tests.payload_keys import MASTERS

Request = tuple[str, str, str | None, str]  # tenant, submitter, request id, digest

NAMES = st.sampled_from(["a", "b"])
REQUESTS = st.tuples(NAMES, NAMES, st.sampled_from([None, "1", "2"]), NAMES)


class Requests(RuleBasedStateMachine):
    """The model: the first request of (tenant, submitter, request id) decides; equal ones get its mission."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._runner = asyncio.Runner()
        self._store = self._open()
        self._missions: list[str] = []
        self._known: dict[tuple[str, str, str], tuple[str, str]] = {}  # → digest, mission id

    def _open(self) -> Store:
        return Store.open(Path(self._folder.name) / "s.db", clock=SystemClock(), masters=MASTERS)

    async def _submit(self, requests: list[Request]) -> list[object]:
        first = len(self._missions)
        calls = [
            self._store.create_mission(
                NewMission(
                    id=f"m{first + n}",
                    tenant=tenant,
                    submitter=submitter,
                    request_id=request_id,
                    request_digest=digest,
                    mission_digest="d",
                    name="n",
                    document=b"{}",
                    steps_total=1,
                )
            )
            for n, (tenant, submitter, request_id, digest) in enumerate(requests)
        ]
        return list(await asyncio.gather(*calls, return_exceptions=True))

    @rule(requests=st.lists(REQUESTS, min_size=1, max_size=6))
    def submit(self, requests: list[Request]) -> None:
        """Submit several at once; they are decided in the order of the calls."""
        answers = self._runner.run(self._submit(requests))
        first = len(self._missions)
        for n, ((tenant, submitter, request_id, digest), answer) in enumerate(zip(requests, answers, strict=True)):
            mission_id = f"m{first + n}"
            known = None if request_id is None else self._known.get((tenant, submitter, request_id))
            if known is None:
                assert answer.created  # type: ignore[attr-defined]
                assert answer.mission.id == mission_id  # type: ignore[attr-defined]
                self._missions.append(mission_id)
                if request_id is not None:
                    self._known[tenant, submitter, request_id] = (digest, mission_id)
            elif known[0] == digest:
                assert not answer.created  # type: ignore[attr-defined]
                assert answer.mission.id == known[1]  # type: ignore[attr-defined]
                self._missions.append("")
            else:
                assert isinstance(answer, ConflictError)
                self._missions.append("")

    @rule()
    def restart(self) -> None:
        """Close and open again: the ids are remembered."""
        self._runner.run(self._store.close())
        self._store = self._open()

    @invariant()
    def the_list_is_the_model(self) -> None:
        """Every mission that was created is listed once, newest first, and no other."""
        page = self._runner.run(self._store.list_missions(page_size=1_000))
        assert [m.id for m in page.missions] == [m for m in reversed(self._missions) if m]

    def teardown(self) -> None:
        self._runner.run(self._store.close())
        self._runner.close()
        self._folder.cleanup()


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
