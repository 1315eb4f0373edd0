"""The store, as the mission desk uses it."""

import asyncio
import base64
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from engine.result import MissionResult, MissionState, OverallStatus, StepFailure, StepResult, StepState
from gateway.errors import ConflictError, NotFoundError, SanitizationError, StoreError
from gateway.missions.views import MissionEvent
from gateway.store.records import NewMission, StoredEvent
from gateway.store.store import EVENT_BYTES_MAX, Store
from tests.payload_keys import MASTERS

START = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class TickingClock:
    """A second passes with every look."""

    def __init__(self) -> None:
        self._looks = 0

    def now(self) -> datetime:
        self._looks += 1
        return START + timedelta(seconds=self._looks)

    def monotonic(self) -> float:
        return float(self._looks)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store.open(tmp_path / "missions.db", clock=TickingClock(), masters=MASTERS)
    yield store
    await store.close()


def mission(number: int, *, tenant: str = "t", request_id: str | None = None, digest: str = "sha256:r") -> NewMission:
    return NewMission(
        id=f"m{number}",
        tenant=tenant,
        submitter="alice",
        request_id=request_id,
        request_digest=digest,
        mission_digest="sha256:m",
        name=f"mission {number}",
        document=b'{"name":"x"}',
        steps_total=3,
    )


def step(name: str, status: StepState = StepState.COMPLETED, output: object = None) -> StepResult:
    error = StepFailure(code="step.failed", message="no") if status is StepState.FAILED else None
    return StepResult(step_id=name, status=status, output=output, error=error, duration_ms=1.5, timestamp=START)  # type: ignore[arg-type]


def result(number: int, state: MissionState = MissionState.COMPLETED) -> MissionResult:
    return MissionResult(
        mission_id=f"m{number}",
        state=state,
        overall_status=OverallStatus.PARTIAL,
        step_results={},
        start_time=START,
        end_time=START + timedelta(seconds=9),
        total_duration_ms=9_000.0,
        steps_completed=1,
        steps_failed=1,
        steps_skipped=1,
        error=StepFailure(code="mission.timeout", message="too long") if state is MissionState.FAILED else None,
    )


# --- missions ---


async def test_a_created_mission_is_read_back(store: Store) -> None:
    """Everything that was given is there, Validated, at the clock's time; the document is apart."""
    creation = await store.create_mission(mission(1, request_id="r"))
    assert creation.created
    record = await store.get_mission("m1")
    assert record == creation.mission
    assert (record.tenant, record.submitter, record.request_id, record.name) == ("t", "alice", "r", "mission 1")
    assert (record.state, record.created_at) == (MissionState.VALIDATED, START + timedelta(seconds=1))
    assert (record.started_at, record.ended_at, record.overall_status, record.error) == (None, None, None, None)
    assert await store.get_document("m1") == b'{"name":"x"}'


async def test_an_equal_request_returns_the_first_mission(store: Store) -> None:
    """The second submission with the request id and digest makes nothing, whatever id it would have had."""
    first = await store.create_mission(mission(1, request_id="r"))
    again = await store.create_mission(mission(2, request_id="r"))
    assert (again.created, again.mission) == (False, first.mission)
    with pytest.raises(NotFoundError):
        await store.get_mission("m2")


async def test_a_request_id_for_another_request_is_a_conflict(store: Store) -> None:
    """The same id with another digest is refused, and the first mission is as it was."""
    first = await store.create_mission(mission(1, request_id="r"))
    with pytest.raises(ConflictError) as refused:
        await store.create_mission(mission(2, request_id="r", digest="sha256:other"))
    assert refused.value.code == "mission.request_id_reused"
    assert await store.get_mission("m1") == first.mission


async def test_request_ids_belong_to_a_tenant_and_submitter(store: Store) -> None:
    """Another tenant's equal id is its own; without an id nothing is ever equal."""
    for number, (tenant, request_id) in enumerate([("t", "r"), ("u", "r"), ("t", None), ("t", None)]):
        assert (await store.create_mission(mission(number, tenant=tenant, request_id=request_id))).created
    found = await store.find_request("u", "alice", "r")
    assert found is not None
    assert found.id == "m1"
    assert await store.find_request("t", "bob", "r") is None


async def test_of_concurrent_equal_requests_one_creates(store: Store) -> None:
    """A hundred at once, in one transaction or several: one mission."""
    calls = (store.create_mission(mission(n, request_id="r")) for n in range(100))
    creations = await asyncio.gather(*calls)
    assert sum(c.created for c in creations) == 1
    assert len({c.mission.id for c in creations}) == 1


async def test_a_mission_id_is_used_once(store: Store) -> None:
    """A second mission of the same id is refused, not merged."""
    await store.create_mission(mission(1))
    with pytest.raises(StoreError) as refused:
        await store.create_mission(mission(1))
    assert refused.value.code == "store.constraint"


async def test_an_unknown_mission_is_not_found(store: Store) -> None:
    """By record and by document alike."""
    for asked in (store.get_mission("no"), store.get_document("no")):
        with pytest.raises(NotFoundError):
            await asked
    assert await store.events("no", 0) == ()
    assert await store.step_results("no") == ()


async def test_a_mission_runs_and_ends(store: Store) -> None:
    """Executing, then its end with status, counts, error and the results that were not saved before."""
    await store.create_mission(mission(1))
    await store.mark_executing("m1")
    assert (await store.get_mission("m1")).started_at == START + timedelta(seconds=2)
    first = [step("a", output={"n": 2**53 + 1, "t": "ü"}), step("b", StepState.FAILED)]
    await store.save_step_results("m1", first)
    last = step("c", StepState.SKIPPED)
    await store.finish_mission(result(1, MissionState.FAILED), step_results=[last], audit_summary=b"{}")
    record = await store.get_mission("m1")
    assert (record.state, record.overall_status) == (MissionState.FAILED, OverallStatus.PARTIAL)
    assert (record.steps_completed, record.steps_failed, record.steps_skipped) == (1, 1, 1)
    assert record.error == StepFailure(code="mission.timeout", message="too long")
    assert (record.ended_at, record.total_duration_ms) == (START + timedelta(seconds=9), 9_000.0)
    assert record.audit_summary == b"{}"
    assert await store.step_results("m1") == (*first, last)
    assert await store.step_results("m1", offset=1, limit=1) == (first[1],)


@pytest.mark.parametrize("ended", [True, False])
async def test_states_only_go_forward(store: Store, ended: bool) -> None:
    """What has ended neither begins nor ends again, and a refused end leaves no result; who goes on began before."""
    await store.create_mission(mission(1))
    if ended:
        await store.finish_mission(result(1))
        for act in (store.mark_executing("m1"), store.finish_mission(result(1), step_results=[step("late")])):
            with pytest.raises(ConflictError) as refused:
                await act
            assert refused.value.code == "mission.state"
        assert await store.step_results("m1") == ()
    else:
        await store.mark_executing("m1")
        await store.mark_executing("m1")
        record = await store.get_mission("m1")
        assert (record.state, record.started_at) == (MissionState.EXECUTING, START + timedelta(seconds=2))


async def test_a_step_has_one_result(store: Store) -> None:
    """A second result for a step takes its whole batch back."""
    await store.create_mission(mission(1))
    await store.save_step_results("m1", [step("a")])
    with pytest.raises(StoreError) as refused:
        await store.save_step_results("m1", [step("b"), step("a")])
    assert refused.value.code == "store.constraint"
    assert [r.step_id for r in await store.step_results("m1")] == ["a"]


async def test_records_belong_to_a_mission(store: Store) -> None:
    """Results and events of a mission that is not there are refused: payload before event."""
    for act in (store.save_step_results("no", [step("a")]), store.append_events("no", 0, [b"{}"])):
        with pytest.raises(NotFoundError):
            await act


# --- events ---


async def test_events_are_read_from_any_index(store: Store) -> None:
    """A watcher resumes where it stopped, and gets every event once, in order."""
    await store.create_mission(mission(1))
    await store.append_events("m1", 0, [b"0", b"1"])
    await store.append_events("m1", 2, [b"2"])
    assert await store.events("m1", 0, 2) == (StoredEvent(0, b"0"), StoredEvent(1, b"1"))
    assert await store.events("m1", 2) == (StoredEvent(2, b"2"),)
    assert await store.events("m1", 3) == ()


@pytest.mark.parametrize("index", [0, 1, 3])
async def test_events_have_no_gap_and_no_double(store: Store, index: int) -> None:
    """Only the next index is taken."""
    await store.create_mission(mission(1))
    await store.append_events("m1", 0, [b"0", b"1"])
    with pytest.raises(StoreError) as refused:
        await store.append_events("m1", index, [b"x"])
    assert refused.value.code == "store.event_gap"
    assert len(await store.events("m1", 0)) == 2


async def test_an_event_is_bounded(store: Store) -> None:
    """One byte over the limit is refused before the disk is asked."""
    await store.create_mission(mission(1))
    await store.append_events("m1", 0, [b"x" * EVENT_BYTES_MAX])
    with pytest.raises(StoreError) as refused:
        await store.append_events("m1", 1, [b"x" * (EVENT_BYTES_MAX + 1)])
    assert refused.value.code == "store.too_large"


async def test_calls_are_committed_in_the_order_in_which_they_were_made(store: Store) -> None:
    """Also when none is awaited before the next is made: else appending would find gaps."""
    await store.create_mission(mission(1))
    await asyncio.gather(*(store.append_events("m1", n, [str(n).encode()]) for n in range(500)))
    assert [e.body for e in await store.events("m1", 0)] == [str(n).encode() for n in range(500)]


async def test_a_turn_comes_behind_what_was_asked_for_before(store: Store) -> None:
    """Behind a write and behind a query, and it changes nothing; a closed store gives none."""
    await store.create_mission(mission(1))
    order: list[str] = []

    async def told(name: str, what: Awaitable[object]) -> None:
        await what
        order.append(name)

    held, go = threading.Event(), threading.Event()

    def hold(_: sqlite3.Connection) -> None:
        held.set()
        go.wait(5)

    for busy, turn_of in ((store._writer.submit, store.writing_turn), (store._reader.run, store.reading_turn)):
        held.clear()
        go.clear()
        before = asyncio.ensure_future(told("before", busy(hold)))
        await asyncio.to_thread(held.wait, 5)
        turn = asyncio.create_task(told("turn", turn_of()))
        await asyncio.sleep(0.05)
        assert "turn" not in order
        go.set()
        await asyncio.gather(before, turn)
        assert order == ["before", "turn"]
        order.clear()
    await store.close()
    for turn_of in (store.reading_turn, store.writing_turn):
        with pytest.raises(StoreError) as caught:
            await turn_of()
        assert caught.value.code == "store.closed"


# --- lists ---


async def test_pages_show_each_mission_once_newest_first(store: Store) -> None:
    """Missions that are admitted while somebody pages neither repeat nor hide one."""
    for number in range(5):
        await store.create_mission(mission(number))
    seen: list[str] = []
    token = ""
    for number in range(10, 20):
        page = await store.list_missions("t", page_size=2, page_token=token)
        seen += [m.id for m in page.missions]
        token = page.next_page_token
        await store.create_mission(mission(number))
        if not token:
            break
    assert seen == ["m4", "m3", "m2", "m1", "m0"]


async def test_lists_are_filtered(store: Store) -> None:
    """By tenant and state; None is everybody."""
    await store.create_mission(mission(1))
    await store.create_mission(mission(2, tenant="u"))
    await store.create_mission(mission(3))
    await store.mark_executing("m3")
    assert [m.id for m in (await store.list_missions("t")).missions] == ["m3", "m1"]
    assert [m.id for m in (await store.list_missions(None)).missions] == ["m3", "m2", "m1"]
    assert [m.id for m in (await store.list_missions("t", state=MissionState.VALIDATED)).missions] == ["m1"]


async def test_a_token_opens_nothing(store: Store) -> None:
    """Rubbish, and a token made from another tenant's mission, are the same refusal."""
    await store.create_mission(mission(1))
    await store.create_mission(mission(2, tenant="u"))
    foreign = base64.urlsafe_b64encode(b"1.m2").decode().rstrip("=")
    unknown = base64.urlsafe_b64encode(b"1.no").decode().rstrip("=")
    for token in ("x", "=", "a b", "MS5tMQ==", "é", "A" * 300, foreign, unknown, "gICA"):
        with pytest.raises(SanitizationError) as refused:
            await store.list_missions("t", page_token=token)
        assert refused.value.code == "page_token.invalid"
    assert (await store.list_missions(None, page_token=foreign)).missions[0].id == "m1"


@pytest.mark.parametrize(("asked", "given"), [(-1, 1), (0, 1), (2, 2), (10**9, 3)])
async def test_page_sizes_are_brought_into_range(store: Store, asked: int, given: int) -> None:
    """Nobody gets everything at once, and nobody an error for asking."""
    for number in range(3):
        await store.create_mission(mission(number))
    assert len((await store.list_missions("t", page_size=asked)).missions) == given


# --- the end of a gateway ---


REASON = StepFailure(code="site.no", message="it may not go on")


async def test_a_mission_that_may_not_go_on_is_failed(tmp_path: Path) -> None:
    """For the reason that is given, with honest counts; what had ended stays as it is."""
    path = tmp_path / "missions.db"
    store = Store.open(path, clock=TickingClock(), masters=MASTERS)
    for number in range(3):
        await store.create_mission(mission(number, request_id=f"r{number}"))
    await store.finish_mission(result(0))
    await store.mark_executing("m2")
    await store.save_step_results("m2", [step("a"), step("b", StepState.FAILED), step("c", StepState.SKIPPED)])
    await store.close()

    store = Store.open(path, clock=TickingClock(), masters=MASTERS)
    assert [record.id for record in await store.unfinished()] == ["m1", "m2"]
    await store.interrupt_mission("m2", REASON)
    for ended in ("m0", "m2"):
        with pytest.raises(ConflictError):
            await store.interrupt_mission(ended, REASON)
    assert [record.id for record in await store.unfinished()] == ["m1"]
    record = await store.get_mission("m2")
    assert (record.state, record.overall_status) == (MissionState.FAILED, OverallStatus.FAILED)
    assert record.error == REASON
    assert (record.steps_completed, record.steps_failed, record.steps_skipped) == (1, 1, 1)
    again = await store.create_mission(mission(9, request_id="r2"))
    assert (again.created, again.mission) == (False, record)
    await store.close()


async def test_an_interrupted_mission_has_a_whole_result(store: Store) -> None:
    """Each step has one result and one event of its end; counts, durations and the mission's own end are there."""
    await store.create_mission(planned("done", "untold", "begun", "waiting", "last"))
    await store.mark_executing("m1")
    noted = [("mission.executing", ""), *(("step.executing", name) for name in ("done", "untold", "begun"))]
    noted += [("step.completed", "done"), ("step.waiting", "begun"), ("step.retrying", "begun")]
    await store.append_events("m1", 0, [event(index, *each) for index, each in enumerate(noted)])
    await store.save_step_results("m1", [step("done", output=1), step("untold", StepState.FAILED)])
    await store.interrupt_mission("m1", REASON)

    record = await store.get_mission("m1")
    assert (record.steps_completed, record.steps_failed, record.steps_skipped) == (1, 2, 2)
    assert (record.started_at, record.ended_at) == (START + timedelta(seconds=2), START + timedelta(seconds=3))
    assert record.total_duration_ms == 1_000.0
    assert record.audit_summary == b'{"integrity_verified":true}'
    results = await store.step_results("m1")
    assert results[:2] == (step("done", output=1), step("untold", StepState.FAILED))
    assert [(r.step_id, r.status.value, r.error and r.error.code, r.duration_ms) for r in results[2:]] == [
        ("begun", "Failed", "interrupted", 3_000.0),
        ("waiting", "Skipped", "interrupted", 0.0),
        ("last", "Skipped", "interrupted", 0.0),
    ]
    bodies = [stored.body for stored in await store.events("m1", len(noted))]
    events = [MissionEvent.from_bytes(body) for body in bodies]
    assert [e.to_bytes() for e in events] == bodies
    assert [e.index for e in events] == [7, 8, 9, 10, 11]
    assert [(e.kind, e.step_id) for e in events] == [
        ("step.failed", "untold"),
        ("step.failed", "begun"),
        ("step.skipped", "waiting"),
        ("step.skipped", "last"),
        ("mission.failed", ""),
    ]
    error = {"code": REASON.code, "message": REASON.message}
    assert events[-1].details == {"status": "Failed", "error": error}


async def test_a_mission_that_never_began_is_skipped_whole(tmp_path: Path) -> None:
    """Its time counts from its creation, and is not negative where the wall clock has stepped back."""
    store = Store.open(tmp_path / "missions.db", clock=TickingClock(), masters=MASTERS)
    await store.create_mission(planned("a", "b"))
    await store.close()
    store = Store.open(tmp_path / "missions.db", clock=SteppedBackClock(), masters=MASTERS)
    await store.interrupt_mission("m1", REASON)
    record = await store.get_mission("m1")
    assert (record.steps_completed, record.steps_failed, record.steps_skipped) == (0, 0, 2)
    assert record.total_duration_ms == 0.0
    assert len(await store.events("m1", 0)) == 3
    await store.close()


async def test_one_damaged_mission_keeps_no_gateway_from_starting(store: Store) -> None:
    """Without a readable document or readable events it ends all the same."""
    await store.create_mission(replace(planned("a"), document=b"rubbish"))
    await store.append_events("m1", 0, [b"rubbish"])
    await store.interrupt_mission("m1", REASON)
    assert len(await store.events("m1", 0)) == 2
    assert (await store.get_mission("m1")).state is MissionState.FAILED


async def test_a_mission_of_10_000_steps_is_interrupted_in_seconds(store: Store) -> None:
    """Half of it done, the rest waiting: every step has a result."""
    names = [f"s{n}" for n in range(10_000)]
    await store.create_mission(planned(*names))
    await store.mark_executing("m1")
    await store.save_step_results("m1", [step(name) for name in names[:5_000]])
    async with asyncio.timeout(30):
        await store.interrupt_mission("m1", REASON)
    record = await store.get_mission("m1")
    assert (record.steps_completed, record.steps_failed, record.steps_skipped) == (5_000, 0, 5_000)
    assert [r.step_id for r in await store.step_results("m1")] == names


def planned(*names: str) -> NewMission:
    document = orjson.dumps({"steps": [{"id": name} for name in names]})
    return replace(mission(1), document=document, steps_total=len(names))


def event(index: int, kind: str, step_id: str) -> bytes:
    return MissionEvent(index=index, timestamp=START, kind=kind, step_id=step_id, details={}).to_bytes()


class SteppedBackClock(TickingClock):
    """An hour behind."""

    def now(self) -> datetime:
        return super().now() - timedelta(hours=1)


async def test_closing_commits_what_was_asked_for(tmp_path: Path) -> None:
    """Operations that were submitted before `close` are done; later ones are refused."""
    path = tmp_path / "missions.db"
    store = Store.open(path, clock=TickingClock(), masters=MASTERS)
    creations = [asyncio.ensure_future(store.create_mission(mission(n))) for n in range(300)]
    await asyncio.sleep(0)
    await store.close()
    assert all(c.created for c in await asyncio.gather(*creations))
    for late in (store.create_mission(mission(999)), store.get_mission("m1")):
        with pytest.raises(StoreError) as refused:
            await late
        assert refused.value.code == "store.closed"
    await store.close()


async def test_a_caller_that_goes_away_changes_nothing(store: Store) -> None:
    """A cancelled caller's operation stands, and its neighbours in the transaction get their answers."""
    first = asyncio.ensure_future(store.create_mission(mission(1)))
    second = asyncio.ensure_future(store.create_mission(mission(2)))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).created
    assert (await store.get_mission("m1")).state is MissionState.VALIDATED
