"""What is counted and traced of missions, stages and calls: the right things, once, and nothing of a client's."""

import asyncio

import pytest

from engine.errors import FaultError, RefusalError
from gateway.telemetry.meters import OTHER, Meters, Times
from gateway.telemetry.spans import Tracer
from gateway.telemetry.watching import Watching
from gateway.watch import MISSION_ID, POSITION, UNWATCHED, Watch
from tests.telemetry import Counting, HandClock
from tests.worlds import World, mission, step, write

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PAYLOAD = "s3cr3t-payload"


def watching(ratio: float = 1.0, **options: bool) -> tuple[Watching, Meters, Tracer, HandClock]:
    clock, meters = HandClock(), Meters()
    tracer = Tracer(clock, Counting(), ratio=ratio)
    return Watching(meters, clock, tracer, **options), meters, tracer, clock


def counts(times: Times) -> dict[tuple[str, ...], int]:
    return {labels: sum(buckets) for labels, buckets, _ in times.series()}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "ok"),
        (RefusalError("no"), "refused"),
        (FaultError("broken"), "failed"),
        (ValueError("a bug"), "failed"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_a_stage_is_counted_by_how_it_ends(error: BaseException | None, outcome: str) -> None:
    """And whatever it raises leaves it as it was raised."""
    watch, meters, tracer, clock = watching()
    raised: BaseException | None = None
    try:
        with watch.stage("sandbox", "wasm"):
            clock.seconds = 0.25
            if error is not None:
                raise error  # noqa: TRY301 - what a stage does
    except BaseException as caught:  # noqa: BLE001 - the one that was raised, or none
        raised = caught
    assert raised is error
    assert counts(meters.stages) == {("sandbox", outcome): 1}
    assert counts(meters.runs) == {("wasm", outcome): 1}
    assert [sum_us for _, _, sum_us in meters.stages.series()] == [250_000]
    assert POSITION.get() is None
    assert len(tracer.take(9)) == 1


def test_a_call_takes_its_callers_trace_and_gives_it_to_its_stages() -> None:
    """A caller's trace goes on; several headers, and one that is bytes, are none."""
    watch, meters, tracer, _ = watching(ratio=0.0)
    with watch.call("gateway.v1.X/Y", (("traceparent", CALLER),), streams=False) as call:
        assert meters.calls_under_way == 1
        with watch.stage("sanitize"):
            pass
        call.code = "NOT_FOUND"
    stage, rpc = tracer.take(9)
    assert (rpc.name, rpc.kind, rpc.failed) == ("gateway.v1.X/Y", "server", "NOT_FOUND")
    assert rpc.position.trace_id.hex() == CALLER[3:35]
    assert rpc.parent is not None
    assert rpc.parent.hex() == CALLER[36:52]
    assert (stage.parent, stage.position.trace_id) == (rpc.position.span_id, rpc.position.trace_id)
    assert counts(meters.calls) == {("gateway.v1.X/Y", "unary", "NOT_FOUND"): 1}
    assert meters.calls_under_way == 0
    for metadata in ((("traceparent", CALLER),) * 2, (("traceparent", CALLER.encode()),), (("other", CALLER),)):
        with watch.call("m", metadata, streams=True):
            pass
    assert tracer.take(9) == []


def test_callers_need_not_be_followed() -> None:
    """Where callers are strangers they do not decide what is traced."""
    watch, _, tracer, _ = watching(ratio=0.0, follow_callers=False)
    with watch.call("m", (("traceparent", CALLER),), streams=False):
        pass
    assert tracer.take(9) == []


def test_a_step_is_a_part_of_its_mission_whoever_wakes_it() -> None:
    """A step that begins in a task of another mission is in the trace of its own, and the log names its own."""
    watch, _, tracer, _ = watching()
    with watch.mission("mine") as place:
        pass
    with watch.mission("other"), watch.step("http", "mine", place):
        assert MISSION_ID.get() == "mine"
        assert POSITION.get() is not None
    found = {span.name + span.attributes.get("missiongate.mission.id", ""): span for span in tracer.take(9)}
    assert place is not None
    assert found["stepmine"].parent == place.span_id
    assert found["stepmine"].position.trace_id == found["missionmine"].position.trace_id
    assert found["stepmine"].position.trace_id != found["missionother"].position.trace_id
    assert MISSION_ID.get() == ""


def test_series_have_a_maximum() -> None:
    """What is beyond it is counted under one name."""
    times = Times("kind", "status", series_max=3)
    for n in range(10):
        times.add((f"k{n}", "s"), 0.001)
    times.add(("k0", "s"), -1.0)  # a clock that was set back
    assert counts(times) == {("k0", "s"): 2, ("k1", "s"): 1, ("k2", "s"): 1, (OTHER, OTHER): 7}


def test_nobody_watches() -> None:
    """Then nothing is there, and everything passes."""
    with UNWATCHED.mission("m") as place, UNWATCHED.step("k", "m", place), UNWATCHED.stage("sandbox", "wasm"):
        assert (place, POSITION.get(), MISSION_ID.get()) == (None, None, "")
    with UNWATCHED.call("m", (("traceparent", CALLER),), streams=False) as call:
        call.code = "OK"
    UNWATCHED.step_ended("k", "Completed", 1.0)
    UNWATCHED.mission_ended("Success", 1.0)
    assert UNWATCHED.on is False


async def ran(watch: Watch) -> World:
    """Run a mission with a pure step, an effect and a failure, whose payloads say PAYLOAD."""
    world = World(watch=watch)
    steps = (
        step("pure", output=PAYLOAD),
        step("keep", "pure", kind="acting", batches=[[write(f"{PAYLOAD}.txt")]]),
        step("bad", kind="nothing-such"),
    )
    await world.run(mission(*steps[:2]))
    with pytest.raises(RefusalError):
        await world.submit(mission(steps[2], name=PAYLOAD), "r2")
    await world.settled()
    return world


async def test_a_mission_is_watched_from_end_to_end() -> None:
    """Each stage it passes is counted, in one trace, whose attributes and names hold nothing of the client's."""
    watch, meters, tracer, _ = watching()
    world = await ran(watch)
    stages = {stage for stage, _ in counts(meters.stages)}
    assert stages >= {"sanitize", "mission_policy", "resolve", "step_policy", "sandbox", "effect_policy", "effects"}
    assert counts(meters.stages)["sanitize", "refused"] == 1
    assert sum(counts(meters.steps).values()) == 2
    assert counts(meters.missions) == {("Success",): 1}
    assert {profile for profile, _ in counts(meters.runs)} <= {"fast", "semantic", "wasm", "observational"}
    spans = tracer.take(1_000)
    [whole] = [span for span in spans if span.name == "mission"]
    steps = [span for span in spans if span.name == "step"]
    assert all(span.parent == whole.position.span_id for span in steps)
    assert {span.parent for span in spans if span.name in {"resolve", "sandbox", "effects"}} <= {
        span.position.span_id for span in steps
    }
    assert PAYLOAD not in repr(spans)
    assert PAYLOAD not in repr([*counts(meters.stages), *counts(meters.steps), *counts(meters.runs)])
    world.laws_hold()


async def test_watching_changes_no_event() -> None:
    """The log of a watched mission is that of one that nobody watches."""
    watched, unwatched = await ran(watching()[0]), await ran(UNWATCHED)
    assert watched.log.types() == unwatched.log.types()
