"""Statistics from the store: right to the number, of one tenant, of one time, and bounded."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.result import MissionState, OverallStatus, StepResult, StepState
from gateway.errors import SanitizationError
from gateway.store import erasure, pruning
from gateway.store.conversion import lend_functions
from gateway.store.reader import Reader
from gateway.store.schema import MIGRATIONS, migrate
from gateway.store.sealing import Sealer
from gateway.store.statistics import CODES_MAX, ExecutionSummary, Lengths, Period, StatisticsStore
from gateway.store.store import Store
from tests.payload_keys import MASTERS
from tests.unit.gateway.store.store_worlds import START, ending, mission, step

HOUR = Period(since=START, until=START + timedelta(hours=1), interval=timedelta(minutes=10))
KINDS = {"a": "http", "b": "http", "c": "transform"}


@pytest.fixture
async def statistics(store: Store) -> AsyncIterator[StatisticsStore]:
    """Return statistics of the store."""
    [file] = await store._reader.run(lambda c: [row["file"] for row in c.execute("PRAGMA database_list")])
    opened = StatisticsStore.open(Path(file))
    yield opened
    opened.close()


def changed(result: StepResult, **changes: Any) -> StepResult:
    return result._replace(**changes)


async def run_mission(store: Store, name: str, *steps: Any, tenant: str = "t", **fields: Any) -> None:
    await store.create_mission(mission(name, tenant=tenant))
    await store.save_step_results(name, steps, kinds=KINDS)
    await store.finish_mission(replace(ending(name), **fields))


def statuses(summary: ExecutionSummary) -> dict[str, dict[str, int]]:
    return {tally.kind: dict(tally.by_status) for tally in summary.tallies}


async def test_missions_and_steps_are_counted_by_kind_and_status(store: Store, statistics: StatisticsStore) -> None:
    """With lengths, the codes of errors, and nothing of another tenant."""
    failed = step("b", StepState.FAILED, "effect.timeout")
    await run_mission(store, "m1", step("a"), failed, step("c"), overall_status=OverallStatus.SUCCESS, error=None)
    await run_mission(store, "m2", changed(step("a"), duration_ms=100.0), state=MissionState.CANCELLED)
    await run_mission(store, "m3", step("c", StepState.SKIPPED, "dependency.failed"))
    await run_mission(store, "x1", *(step(name) for name in "abc"), tenant="other")
    missions, steps = await statistics.summaries("t", HOUR)
    assert statuses(missions) == {"": {"Success": 1, "Cancelled": 1, "Partial": 1}}
    assert statuses(steps) == {"http": {"Completed": 2, "Failed": 1}, "transform": {"Completed": 1, "Skipped": 1}}
    assert steps.codes == [("effect.timeout", 1)]
    assert missions.codes == [("mission.timeout", 2)]
    http, transform = (tally.lengths for tally in steps.tallies)
    assert (http.count, http.p50_ms, http.p99_ms, http.max_ms) == (3, 1.5, 100.0, 100.0)
    assert (transform.count, transform.max_ms) == (1, 1.5)
    assert not steps.truncated
    nobody = await statistics.summaries("nobody", HOUR)
    assert [(each.tallies, each.codes) for each in nobody] == [([], [])] * 2


async def test_what_runs_is_counted_as_it_stands(store: Store, statistics: StatisticsStore) -> None:
    """A mission without an end has its state for a status, and no length."""
    await store.create_mission(mission("m"))
    await store.mark_executing("m")
    missions, _ = await statistics.summaries("t", HOUR)
    assert statuses(missions) == {"": {"Executing": 1}}
    assert missions.tallies[0].lengths.count == 0


async def test_a_trend_has_every_interval(store: Store, statistics: StatisticsStore) -> None:
    """Those in which nothing ended as well, and each step in the one in which it ended."""
    late = changed(step("b"), timestamp=START + timedelta(minutes=59, seconds=59), duration_ms=3.0)
    await run_mission(store, "m", step("a"), late, changed(step("c"), timestamp=START + timedelta(hours=1)))
    _, steps = await statistics.summaries("t", HOUR)
    assert [dict(each.by_status) for each in steps.trend] == [{"Completed": 1}, {}, {}, {}, {}, {"Completed": 1}]
    assert [each.since for each in steps.trend] == [START + timedelta(minutes=10 * n) for n in range(6)]
    assert (steps.trend[0].mean_ms, steps.trend[1].mean_ms, steps.trend[5].mean_ms) == (1.5, 0.0, 3.0)


@given(st.integers(60, 10_000), st.integers(60, 10_000))
def test_the_intervals_cover_the_time(seconds: int, interval: int) -> None:
    """The last may be shorter."""
    until = START + timedelta(seconds=seconds)
    assert Period(since=START, until=until, interval=timedelta(seconds=interval)).buckets == ceil(seconds / interval)


async def test_percentiles_are_of_nearest_rank(store: Store, statistics: StatisticsStore) -> None:
    """The least length that at least that share did not pass, of each kind apart."""
    counts = (1, 2, 19, 20, 21, 100, 101)
    results = [changed(step(f"k{count:03}-{n}"), duration_ms=float(n)) for count in counts for n in range(count, 0, -1)]
    await store.create_mission(mission("m"))
    await store.save_step_results("m", results, kinds={each.step_id: each.step_id[:4] for each in results})
    _, steps = await statistics.summaries("t", HOUR)
    found = {tally.kind: tally.lengths for tally in steps.tallies}
    assert found == {
        f"k{count:03}": Lengths(
            count=count, p50_ms=ceil(count * 0.5), p95_ms=ceil(count * 0.95), p99_ms=ceil(count * 0.99), max_ms=count
        )
        for count in counts
    }


async def test_what_is_looked_at_has_a_maximum(store: Store, statistics: StatisticsStore) -> None:
    """The newest are, and the answer says that there were more; of codes the most frequent are told."""
    results = [
        changed(step(f"s{n}", StepState.FAILED, f"code.n{n % (CODES_MAX + 4)}"), timestamp=START + timedelta(seconds=n))
        for n in range(100)
    ]
    await store.create_mission(mission("m"))
    await store.save_step_results("m", results)
    _, steps = await statistics.summaries("t", HOUR)
    assert len(steps.codes) == CODES_MAX
    few = StatisticsStore(statistics._reader, rows_max=10)
    _, steps = await few.summaries("t", HOUR)
    assert (steps.truncated, sum(tally.count for tally in steps.tallies)) == (True, 10)
    assert {code for code, _ in steps.codes} == {f"code.n{n % (CODES_MAX + 4)}" for n in range(90, 100)}


async def test_executions_are_paged_newest_first(store: Store, statistics: StatisticsStore) -> None:
    """Each once, whatever ends meanwhile; by kind and status; with a token that is of this list alone."""
    results = [
        changed(step(f"s{n}", StepState.FAILED if n % 2 else StepState.COMPLETED), timestamp=START) for n in range(7)
    ]
    kinds = {result.step_id: "http" if n < 5 else "delay" for n, result in enumerate(results)}
    await store.create_mission(mission("m"))
    await store.save_step_results("m", results, kinds=kinds)
    await run_mission(store, "x", step("a"), tenant="other")
    seen: list[str] = []
    token, times = "", {"since": HOUR.since, "until": HOUR.until}
    while True:
        rows, token = await statistics.executions("t", **times, page_size=3, page_token=token)
        seen += [row.step_id for row in rows]
        if not token:
            break
        await store.create_mission(mission(f"late{len(seen)}"))
        await store.save_step_results(f"late{len(seen)}", [step("late")])
    assert seen == [f"s{n}" for n in reversed(range(7))]
    rows, _ = await statistics.executions("t", **times, kind="http", status="Failed", page_size=9)
    assert [(row.step_id, row.code, row.attempts) for row in rows] == [
        ("s3", "step.failed", 0),
        ("s1", "step.failed", 0),
    ]
    _, foreign = await statistics.executions("t", **times, page_size=1)
    for tenant, page_token in (("other", foreign), ("t", "nonsense")):
        with pytest.raises(SanitizationError):
            await statistics.executions(tenant, **times, page_size=1, page_token=page_token)


async def test_the_steps_of_what_is_gone_are_listed_no_longer(store: Store, statistics: StatisticsStore) -> None:
    """From the moment on at which its keys are deleted, though its rows may take a while: its clients named them."""
    for name in ("erased", "pruned", "kept"):
        await run_mission(store, name, step(f"step-of-{name}"))
    await store.erasures.begin("erased", "t/ann", "")
    await store._writer.submit(lambda c: erasure.cut(c, store._sealer, "erased", START))
    later = START + timedelta(days=1)
    await store._writer.submit(lambda c: pruning.mark_some(c, ["pruned"], later))
    assert await store._reader.run(lambda c: c.execute("SELECT count(*) AS n FROM step_results").fetchone()["n"]) == 3
    rows, _ = await statistics.executions("t", since=HOUR.since, until=HOUR.until, page_size=9)
    assert [row.step_id for row in rows] == ["step-of-kept"]


async def test_no_output_is_read_for_it(statistics: StatisticsStore) -> None:
    """Counting reads the index alone: outputs may be large."""
    sql = (
        "EXPLAIN QUERY PLAN SELECT step_type, status, count(*) FROM step_results INDEXED BY step_results_by_time"
        " WHERE tenant = 't' AND timestamp >= '' AND timestamp < '~' GROUP BY step_type, status"
    )
    plan = await statistics._reader.run(lambda c: [row["detail"] for row in c.execute(sql)])
    assert any("USING COVERING INDEX step_results_by_time" in detail for detail in plan)


def test_an_older_store_is_counted_too() -> None:
    """Its steps have their tenant, and no kind."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        lend_functions(connection, Sealer(MASTERS))
        migrate(connection, MIGRATIONS[:6])
        connection.execute(
            "INSERT INTO missions (id, tenant, submitter, state, created_at, steps_total, root_id, head)"
            " VALUES ('m', 't', 's', 'Validated', '2026', 1, 'm', x'00')"
        )
        connection.execute(
            "INSERT INTO step_results (mission_id, step_id, status, output, duration_ms, timestamp)"
            " VALUES ('m', 's', 'Completed', x'00', 1.0, '2026')"
        )
        migrate(connection)
        assert connection.execute("SELECT tenant, step_type FROM step_results").fetchall() == [("t", "")]


def test_a_store_that_is_closed_answers_nothing(tmp_path: Path) -> None:
    """And its thread has ended."""
    with closing(sqlite3.connect(tmp_path / "s.db")):
        pass
    store = StatisticsStore.open(tmp_path / "s.db")
    store.close()
    assert isinstance(store._reader, Reader)
    assert store._reader._closed
