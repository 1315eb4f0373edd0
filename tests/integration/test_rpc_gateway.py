"""The whole gateway behind real channels, with the default bundle: what a fake desk cannot show."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc

from engine.audit.verify import verify_log
from gateway.folders import AUDIT_FOLDER
from gateway.v1 import mission_pb2
from tests.rpc_server import details
from tests.rpc_world import SLOW, as_, document, refused, step, world
from tests.subjects import names_in


async def test_a_cancelled_submit_leaves_one_mission_that_runs(tmp_path: Path) -> None:
    """Wherever the client's cancellation strikes: repeating the request id finds one mission, admitted once."""
    async with world(tmp_path) as w:
        for i in range(12):
            call = asyncio.ensure_future(w.submit(f"r{i}", step("a")))
            await asyncio.sleep(i * 0.002)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        ids = []
        for i in range(12):
            again = await w.submit(f"r{i}", step("a"))
            assert (await w.watch(again.mission_id))[-1][1] == "mission.completed"
            assert (await w.submit(f"r{i}", step("a"))).mission_id == again.mission_id
            ids.append(again.mission_id)
        page = await w.missions.ListMissions(mission_pb2.ListMissionsRequest(), metadata=as_("ann"))
        assert sorted(m.mission_id for m in page.missions) == sorted(ids)
        admitted = [event["target"] for event in await w.events("mission.admitted")]
        assert sorted(admitted) == sorted(ids)


async def test_a_request_id_names_one_mission(tmp_path: Path) -> None:
    """Replayed with the same mission it is the first answer; with another, an error; another subject's is another."""
    async with world(tmp_path) as w:
        first = await w.submit("r", step("a"))
        again = await w.submit("r", step("a"))
        assert (first.created, again.created) == (True, False)
        assert again.mission_id == first.mission_id
        error = await refused(w.submit("r", step("b")))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert details(error)[2].code == "mission.request_id_reused"
        assert (await w.submit("r", step("a"), who="amy")).mission_id != first.mission_id


async def test_both_forms_of_a_mission_are_one(tmp_path: Path) -> None:
    """A Mission message and its document have one digest, so that either may replay the other."""
    async with world(tmp_path) as w:
        steps = [step("a", parameters={"input": 2**53 + 1}), step("b", depends_on=["a"], timeout_seconds=5)]
        first = await w.submit("r", *steps)
        message = mission_pb2.Mission(
            version="1.0",
            name="m",
            steps=[
                mission_pb2.MissionStep(
                    id="a", name="a", step_type="transform", parameters=b'{"input": 9007199254740993}'
                ),
                mission_pb2.MissionStep(id="b", name="b", step_type="transform", depends_on=["a"], timeout_seconds=5),
            ],
        )
        request = mission_pb2.SubmitMissionRequest(request_id="r", mission=message)
        again = await w.missions.SubmitMission(request, metadata=as_("ann"))
        assert (again.created, again.digest) == (False, first.digest)


ABOUT_ONE = (
    "GetMission", "WatchMission", "CancelMission", "PauseMission", "ResumeMission", "RetryMission", "ListApprovals",
    "WatchResults",
)  # fmt: skip


async def test_another_tenants_mission_does_not_exist(tmp_path: Path) -> None:
    """Status, text and details of a foreign mission, running or ended, and of a missing one do not differ."""
    async with world(tmp_path) as w:
        running = (await w.submit("r", SLOW)).mission_id
        done = (await w.submit("s", step("a"))).mission_id
        await w.watch(done)
        missing = "0b9ad7a4-6f0e-4a53-9d3a-2f6f7a0b1c2d"
        for method in ABOUT_ONE:
            seen = set()
            for mission_id in (running, done, missing):
                request = getattr(mission_pb2, f"{method}Request")(mission_id=mission_id)
                call = getattr(w.missions, method)(request, metadata=as_("bob"))
                error = await refused(call.read() if method.startswith("Watch") else call)
                seen.add((error.code(), error.details(), str(details(error))))
            assert len(seen) == 1, method
        view = await w.missions.GetMission(mission_pb2.GetMissionRequest(mission_id=running), metadata=as_("ann"))
        assert view.mission.state == mission_pb2.MISSION_STATE_EXECUTING
        listed = await w.missions.ListMissions(mission_pb2.ListMissionsRequest(), metadata=as_("bob"))
        assert not listed.missions
        await w.missions.CancelMission(mission_pb2.CancelMissionRequest(mission_id=running), metadata=as_("ann"))


async def test_a_watch_resumes_anywhere_also_after_the_end(tmp_path: Path) -> None:
    """Events have no gaps; from any index, exactly the missing ones, while it runs and from the store alike."""
    async with world(tmp_path) as w:
        mission_id = (await w.submit("r", step("a"), step("b", depends_on=["a"]))).mission_id
        live = await w.watch(mission_id)
        assert [index for index, _, _ in live] == list(range(len(live)))
        assert (live[0][1], live[-1][1]) == ("mission.executing", "mission.completed")
        for start in range(len(live) + 2):
            assert await w.watch(mission_id, start) == live[start:]
    async with world(tmp_path) as w:  # after a restart
        assert await w.watch(mission_id, 1) == live[1:]


async def test_roles_open_methods(tmp_path: Path) -> None:
    """The bundle's data says which; a refusal has a reason, and is an event of the log."""
    requests: dict[str, Any] = {
        "PlanMission": mission_pb2.PlanMissionRequest(document=document(step("a"))),
        "ListMissions": mission_pb2.ListMissionsRequest(),
    }
    async with world(tmp_path) as w:
        for who, method in (("ann", "PlanMission"), ("vic", "ListMissions")):
            await getattr(w.missions, method)(requests[method], metadata=as_(who))
        denied = (("vic", "PlanMission"), ("nil", "ListMissions"), ("eve", "PlanMission"))
        for who, method in denied:
            error = await refused(getattr(w.missions, method)(requests[method], metadata=as_(who)))
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED
            assert [r.code for r in details(error)[2].reasons] == ["rpc.method_not_granted"], who
        events = await w.events("rpc.denied")
        assert [names_in(w.home)[e["actor"]] for e in events] == [f"default/{who}" for who, _ in denied]


async def test_a_draft_is_checked_against_the_kinds_of_the_gateway(tmp_path: Path) -> None:
    """Over gRPC: nothing is admitted, nothing recorded, and who may not plan may not ask."""
    draft = b'version: "1.0"\nsteps: [{id: a, name: A, step_type: delay, parameters: {ms: soon}}]\n'
    request = mission_pb2.CheckDraftRequest(document=draft)
    async with world(tmp_path) as w:
        answer = await w.missions.CheckDraft(request, metadata=as_("ann"))
        assert [(f.code, f.field, f.line) for f in answer.wrong] == [("schema.type", "steps[0].parameters.ms", 2)]
        assert [(f.code, f.field) for f in answer.missing] == [("mission.missing_field", "name")]
        assert (await refused(w.missions.CheckDraft(request, metadata=as_("vic")))).code() is (
            grpc.StatusCode.PERMISSION_DENIED
        )


async def test_one_may_cancel_ones_own_missions_only(tmp_path: Path) -> None:
    """A submitter's role opens CancelMission for missions of their own; a colleague's stays running."""
    async with world(tmp_path) as w:
        mission_id = (await w.submit("r", SLOW)).mission_id
        request = mission_pb2.CancelMissionRequest(mission_id=mission_id, reason="not needed")
        assert (await refused(w.missions.CancelMission(request, metadata=as_("amy")))).code() is (
            grpc.StatusCode.PERMISSION_DENIED
        )
        answer = await w.missions.CancelMission(request, metadata=as_("ann"))
        assert answer.mission.state == mission_pb2.MISSION_STATE_CANCELLED
        again = await refused(w.missions.CancelMission(request, metadata=as_("ann")))
        assert details(again)[2].code == "mission.ended"


async def test_a_five_mebibyte_document_is_our_typed_error(tmp_path: Path) -> None:
    """document.too_large with a line, not malformed; 10,001 steps alike; then a good mission runs."""
    async with world(tmp_path) as w:
        request = mission_pb2.PlanMissionRequest(document=b"x" * (5 * 1024 * 1024))
        error = await refused(w.missions.PlanMission(request, metadata=as_("ann")))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert details(error)[2].violations[0].code == "document.too_large"
        assert not details(error)[2].malformed
        error = await refused(w.submit("many", *(step(f"s{i}") for i in range(10_001))))
        assert details(error)[2].violations[0].code == "mission.too_many_steps"
        mission_id = (await w.submit("r", step("a"))).mission_id
        assert (await w.watch(mission_id))[-1][1] == "mission.completed"


async def test_a_stop_ends_no_mission_and_closes_the_log(tmp_path: Path) -> None:
    """No watcher is told an end that there was not; the log verifies to its last event; the next start goes on."""
    async with world(tmp_path, drain_seconds=0.5) as w:
        short = (await w.submit("short", step("s", "delay", parameters={"ms": 1_500}))).mission_id
        long = (await w.submit("long", SLOW)).mission_id
        watching = [asyncio.create_task(w.watch(mission_id)) for mission_id in (short, long)]
        for mission_id in (short, long):
            await w.seen(mission_id, "step.executing")
        await w.stop()
        assert [(await task)[-1][1] for task in watching] == ["step.executing"] * 2
    report = verify_log(w.home / AUDIT_FOLDER, w.gateway.verifier_key)
    assert report.ok
    assert report.uncovered_lines == 0
    lines = b"".join(p.read_bytes() for p in sorted((w.home / AUDIT_FOLDER / "segments").iterdir())).splitlines()
    assert json.loads(lines[-1])["event_type"] == "gateway.stopped"
    async with world(tmp_path) as w:
        assert [kind for _, kind, _ in await w.watch(short)][-2:] == ["step.completed", "mission.completed"]
        assert (await w.view(long)).state == mission_pb2.MISSION_STATE_EXECUTING
