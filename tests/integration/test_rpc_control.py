"""Pause, resume, retry and approvals over gRPC, against the whole gateway: what people do to missions from outside."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from gateway.client import CallError, Client, Server
from gateway.v1 import mission_pb2
from tests.cli_runner import run
from tests.rpc_server import details
from tests.rpc_world import SLOW, World, as_, document, refused, step, world
from tests.subjects import commitments_in, names_in

ASK = step("ask", "approval", parameters={"message": "Publish draft.txt?"})
WRITE = step("write", "create_file", parameters={"path": "out.txt", "content": "x"}, depends_on=["ask"])
# Fails while the file is not there: which is until somebody puts it into the workspace.
READ = step("read", "read_file", parameters={"path": "in/late.txt"}, depends_on=["first"])
FIRST = step("first", "create_file", parameters={"path": "in/first.txt", "content": "1"})


async def paused(w: World, mission_id: str, who: str = "ann", reason: str = "") -> mission_pb2.MissionView:
    request = mission_pb2.PauseMissionRequest(mission_id=mission_id, reason=reason)
    return (await w.missions.PauseMission(request, metadata=as_(who))).mission


async def resumed(w: World, mission_id: str, who: str = "ann") -> mission_pb2.MissionView:
    request = mission_pb2.ResumeMissionRequest(mission_id=mission_id)
    return (await w.missions.ResumeMission(request, metadata=as_(who))).mission


async def retried(w: World, mission_id: str, who: str = "ann", *, repeat: bool = False) -> mission_pb2.MissionView:
    request = mission_pb2.RetryMissionRequest(mission_id=mission_id, repeat_in_doubt=repeat)
    return (await w.missions.RetryMission(request, metadata=as_(who))).mission


async def pending(w: World, mission_id: str = "", who: str = "ada") -> list[mission_pb2.Approval]:
    request = mission_pb2.ListApprovalsRequest(mission_id=mission_id, pending_only=True)
    return list((await w.missions.ListApprovals(request, metadata=as_(who))).approvals)


async def decided(w: World, asked: mission_pb2.Approval, who: str = "ada", **changes: Any) -> mission_pb2.Approval:
    fields = {
        "mission_id": asked.mission_id,
        "approval_id": asked.approval_id,
        "digest": asked.digest,
        "verdict": mission_pb2.APPROVAL_VERDICT_APPROVE,
    }
    request = mission_pb2.DecideApprovalRequest(**{**fields, **changes})
    return (await w.missions.DecideApproval(request, metadata=as_(who))).approval


async def asking(w: World, request_id: str = "r") -> tuple[str, mission_pb2.Approval]:
    """Submit a mission that asks, and return it with what it asks."""
    mission_id = (await w.submit(request_id, ASK, WRITE)).mission_id
    await w.seen(mission_id, "step.waiting")
    (asked,) = await pending(w, mission_id)
    return mission_id, asked


def kinds(events: list[tuple[int, str, str]], step_id: str | None = None) -> list[str]:
    return [kind for _, kind, of in events if step_id in {None, of}]


# --- pause and resume ---


async def test_a_paused_mission_starts_nothing_until_it_is_resumed(tmp_path: Path) -> None:
    """What would follow begins after the resume, and not before, though what it waits for is over long since."""
    async with world(tmp_path) as w:
        steps = [step("a", "delay", parameters={"ms": 200}), step("b", depends_on=["a"])]
        mission_id = (await w.submit("r", *steps)).mission_id
        await w.seen(mission_id, "step.executing")
        assert (await paused(w, mission_id, reason="let us see")).paused
        await asyncio.sleep(0.6)
        view = await w.view(mission_id)
        assert (view.paused, view.state) == (True, mission_pb2.MISSION_STATE_EXECUTING)
        assert not (await resumed(w, mission_id)).paused
        events = [(kind, of) for _, kind, of in await w.watch(mission_id)]
        assert events.index(("mission.unpaused", "")) < events.index(("step.executing", "b"))
        assert events[-1] == ("mission.completed", "")
        reason = commitments_in(w.home, mission_id).of("let us see")
        assert [e["details"].get("reason") for e in await w.events("mission.paused")] == [reason]


async def test_what_is_not_so_cannot_be_changed(tmp_path: Path) -> None:
    """Pausing twice, resuming what is not paused, retrying what runs, controlling what has ended: each its code."""
    async with world(tmp_path) as w:
        mission_id = (await w.submit("r", SLOW)).mission_id
        await w.seen(mission_id, "step.executing")
        done = (await w.submit("done", step("a"))).mission_id
        await w.watch(done)

        async def code(call: Any) -> str:
            error = await refused(call)
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
            return details(error)[2].code

        assert await code(resumed(w, mission_id)) == "mission.not_paused"
        assert await code(retried(w, mission_id)) == "mission.not_ended"
        await paused(w, mission_id)
        assert await code(paused(w, mission_id)) == "mission.paused"
        assert await code(paused(w, done)) == "mission.ended"
        assert await code(resumed(w, done)) == "mission.ended"


async def test_a_pause_outlasts_a_restart(tmp_path: Path) -> None:
    """The next start of the gateway goes on with the mission, paused."""
    async with world(tmp_path, drain_seconds=0.2) as w:
        steps = [step("a"), step("b", "delay", parameters={"ms": 300}, depends_on=["a"])]
        mission_id = (await w.submit("r", *steps)).mission_id
        await w.seen(mission_id, "step.executing", of="b")
        await paused(w, mission_id)
    async with world(tmp_path) as w:
        view = await w.view(mission_id)
        assert (view.paused, view.state) == (True, mission_pb2.MISSION_STATE_EXECUTING)
        await resumed(w, mission_id)
        events = await w.watch(mission_id)
        assert kinds(events)[-1] == "mission.completed"
        assert kinds(events, "a").count("step.executing") == 1
        assert [index for index, _, _ in events] == list(range(len(events)))


async def test_a_paused_mission_can_be_cancelled(tmp_path: Path) -> None:
    """Nobody has to let it go on first."""
    async with world(tmp_path) as w:
        mission_id = (await w.submit("r", SLOW)).mission_id
        await paused(w, mission_id)
        request = mission_pb2.CancelMissionRequest(mission_id=mission_id)
        answer = await w.missions.CancelMission(request, metadata=as_("ann"))
        assert answer.mission.state == mission_pb2.MISSION_STATE_CANCELLED
        assert not answer.mission.paused


async def test_control_is_for_submitters_and_operators(tmp_path: Path) -> None:
    """A colleague and a viewer are refused; an operator gets as far as the mission's state."""
    async with world(tmp_path) as w:
        mission_id = (await w.submit("r", step("a"))).mission_id
        await w.watch(mission_id)
        for call in (paused, resumed, retried):
            for who, code in (("amy", "rpc.not_your_mission"), ("vic", "rpc.method_not_granted")):
                error = await refused(call(w, mission_id, who))
                assert error.code() is grpc.StatusCode.PERMISSION_DENIED
                assert [r.code for r in details(error)[2].reasons] == [code], (call, who)
            expected = "mission.succeeded" if call is retried else "mission.ended"
            assert details(await refused(call(w, mission_id, "opi")))[2].code == expected


# --- retry ---


async def test_a_retry_keeps_what_is_completed(tmp_path: Path) -> None:
    """The failed step and what depends on it run again, the completed one does not, and its effect is not repeated."""
    async with world(tmp_path) as w:
        mission_id = (await w.submit("r", FIRST, READ, step("last", depends_on=["read"]))).mission_id
        assert kinds(await w.watch(mission_id))[-1] == "mission.failed"
        (w.home / "workspaces" / mission_id / "in" / "late.txt").write_text("now it is there")
        view = await retried(w, mission_id)
        assert (view.run, view.HasField("result")) == (2, False)
        events = await w.watch(mission_id)
        assert kinds(events)[-1] == "mission.completed"
        assert kinds(events, "first").count("step.executing") == 1
        assert kinds(events, "read").count("step.executing") == 2
        assert "mission.retried" in kinds(events)
        result = (await w.view(mission_id)).result
        assert result.overall_status == mission_pb2.OVERALL_STATUS_SUCCESS
        assert (result.steps_completed, result.steps_failed, result.steps_skipped) == (3, 0, 0)
        assert b"now it is there" in result.step_results["read"].output


async def test_a_success_is_not_retried(tmp_path: Path) -> None:
    """There is nothing to do anew; its result stays as it is."""
    async with world(tmp_path) as w:
        mission_id = (await w.submit("r", FIRST)).mission_id
        await w.watch(mission_id)
        before = await w.view(mission_id)
        assert details(await refused(retried(w, mission_id)))[2].code == "mission.succeeded"
        assert await w.view(mission_id) == before


async def test_a_watch_shows_every_run(tmp_path: Path) -> None:
    """Event indexes go on without gaps through a retry, live and from the store."""
    async with world(tmp_path) as w:
        mission_id = (await w.submit("r", FIRST, READ)).mission_id
        await w.watch(mission_id)
        await retried(w, mission_id)
        events = await w.watch(mission_id)
        assert [index for index, _, _ in events] == list(range(len(events)))
        assert kinds(events).count("mission.failed") == 2
        for start in (0, 3, len(events) - 1):
            assert await w.watch(mission_id, start) == events[start:]


# --- approvals ---


async def test_somebody_else_approves_and_the_mission_goes_on(tmp_path: Path) -> None:
    """The submitter may not, an approver may, with the digest that was shown; the log has who it was."""
    async with world(tmp_path) as w:
        mission_id, asked = await asking(w)
        assert (asked.step_id, asked.message, list(asked.approvers)) == ("ask", "Publish draft.txt?", ["approver"])
        error = await refused(decided(w, asked, "ann"))
        assert [r.code for r in details(error)[2].reasons] == ["rpc.method_not_granted"]
        answer = await decided(w, asked, comment="looks right")
        assert (answer.state, answer.decided_by) == (mission_pb2.APPROVAL_STATE_APPROVED, "ada")
        assert kinds(await w.watch(mission_id))[-1] == "mission.completed"
        output = json.loads((await w.view(mission_id)).result.step_results["ask"].output)
        assert (output["approved"], output["by"], output["comment"]) == (True, "ada", "looks right")
        assert [names_in(w.home)[e["actor"]] for e in await w.events("approval.decided")] == ["default/ada"]
        assert await pending(w) == []


async def test_four_eyes(tmp_path: Path) -> None:
    """Whoever has both roles still does not approve their own mission; a foreign tenant's approver finds none."""
    async with world(tmp_path) as w:
        mission_id = (await w.submit("r", ASK, who="max")).mission_id
        await w.seen(mission_id, "step.waiting", "max")
        (asked,) = await pending(w, mission_id)
        error = await refused(decided(w, asked, "max"))
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert [r.code for r in details(error)[2].reasons] == ["approval.own_mission"]
        assert (await refused(decided(w, asked, "blu"))).code() is grpc.StatusCode.NOT_FOUND
        assert await pending(w, who="blu") == []
        await decided(w, asked)
        await w.watch(mission_id, who="max")


async def test_a_no_fails_the_step(tmp_path: Path) -> None:
    """With who said it and why; nothing that depends on it runs, and a retry of the mission asks anew."""
    async with world(tmp_path) as w:
        mission_id, asked = await asking(w)
        await decided(w, asked, verdict=mission_pb2.APPROVAL_VERDICT_DENY, comment="not yet")
        assert kinds(await w.watch(mission_id))[-1] == "mission.failed"
        results = (await w.view(mission_id)).result.step_results
        assert results["ask"].error.code == "effect.approval_denied"
        assert "denied by ada: not yet" in results["ask"].error.message
        assert results["write"].status == mission_pb2.STEP_STATE_SKIPPED
        await retried(w, mission_id)
        for _ in range(200):
            if again := await pending(w, mission_id):
                break
            await asyncio.sleep(0.02)
        assert again[0].approval_id != asked.approval_id
        await decided(w, again[0])
        assert kinds(await w.watch(mission_id))[-1] == "mission.completed"


async def test_a_decision_counts_once_and_for_what_was_shown(tmp_path: Path) -> None:
    """Another digest is refused and decides nothing; a second decision comes too late."""
    async with world(tmp_path) as w:
        mission_id, asked = await asking(w)
        error = await refused(decided(w, asked, digest="sha256:" + "0" * 64))
        assert details(error)[2].code == "approval.digest_mismatch"
        assert len(await pending(w, mission_id)) == 1
        await decided(w, asked)
        await w.watch(mission_id)
        assert details(await refused(decided(w, asked)))[2].code == "approval.decided"


async def test_a_question_outlasts_a_restart(tmp_path: Path) -> None:
    """The next start of the gateway finds it under its id, and the answer lets the mission go on."""
    async with world(tmp_path, drain_seconds=0.2) as w:
        mission_id, asked = await asking(w)
    async with world(tmp_path) as w:
        for _ in range(200):
            if still := await pending(w, mission_id):
                break
            await asyncio.sleep(0.02)
        assert [each.approval_id for each in still] == [asked.approval_id]
        await decided(w, asked)
        assert kinds(await w.watch(mission_id))[-1] == "mission.completed"


# --- results, documents, the whole contract ---


async def test_results_come_as_they_are_saved(tmp_path: Path) -> None:
    """A follower has the first before the second begins; from any offset, exactly the missing ones."""
    async with world(tmp_path) as w:
        mission_id = (await w.submit("r", FIRST, step("wait", "approval", **ASK_LATER))).mission_id
        request = mission_pb2.WatchResultsRequest(mission_id=mission_id, follow=True)
        call = w.missions.WatchResults(request, metadata=as_("ann"))
        first = (await call.read()).result
        assert (first.step_id, first.status, first.attempts) == ("first", mission_pb2.STEP_STATE_COMPLETED, 1)
        await w.seen(mission_id, "step.waiting")
        (asked,) = await pending(w, mission_id)
        await decided(w, asked)
        assert (await call.read()).result.step_id == "wait"
        assert await call.read() is grpc.aio.EOF

        async def ids(offset: int) -> list[str]:
            request = mission_pb2.WatchResultsRequest(mission_id=mission_id, offset=offset)
            return [a.result.step_id async for a in w.missions.WatchResults(request, metadata=as_("ann"))]

        assert [await ids(offset) for offset in range(3)] == [["first", "wait"], ["wait"], []]


ASK_LATER = {"parameters": {"message": "Go on?"}, "depends_on": ["first"]}


async def test_the_document_comes_back_canonical(tmp_path: Path) -> None:
    """Of the digest that the submission told, with every default."""
    async with world(tmp_path) as w:
        answer = await w.submit("r", step("a"))
        view = await w.view(answer.mission_id, document=True)
        mission = json.loads(view.mission)
        assert mission["config"]["strategy"] == "parallel"
        assert [each["id"] for each in mission["steps"]] == ["a"]
        assert view.digest == answer.digest
        assert (await w.view(answer.mission_id)).mission == b""


async def test_both_forms_of_the_full_contract_are_one(tmp_path: Path) -> None:
    """when, foreach, retry, idempotent, strategy, priority, key and supervision: one digest, so one mission."""
    retry = {"max_attempts": 4, "backoff": "exponential", "base_ms": 10, "jitter": True}
    config = {
        "strategy": "levels", "priority": 7, "concurrency_key": "k",
        "supervision": {"strategy": "one_for_all", "max_restarts": 2, "within_seconds": 5},
    }  # fmt: skip
    steps = [
        step("a", retry=retry, idempotent=True),
        step("b", foreach={"items": [1, 2], "parallel_limit": 2}, parameters={"input": "${item}"}),
        step("c", when={"exists": ["${steps.a.output}"]}, depends_on=["a"]),
    ]
    message = mission_pb2.Mission(
        version="1.0",
        name="m",
        config=mission_pb2.MissionConfig(
            strategy=mission_pb2.STRATEGY_LEVELS,
            priority=7,
            concurrency_key="k",
            supervision=mission_pb2.Supervision(
                strategy=mission_pb2.RESTART_SCOPE_ONE_FOR_ALL, max_restarts=2, within_seconds=5
            ),
        ),
        steps=[
            mission_pb2.MissionStep(
                id="a", name="a", step_type="transform", idempotent=True,
                retry=mission_pb2.RetryPolicy(
                    max_attempts=4, backoff=mission_pb2.BACKOFF_EXPONENTIAL, base_ms=10, jitter=True
                ),
            ),
            mission_pb2.MissionStep(
                id="b", name="b", step_type="transform", parameters=b'{"input": "${item}"}',
                foreach=mission_pb2.ForEach(items=b"[1, 2]", parallel_limit=2),
            ),
            mission_pb2.MissionStep(
                id="c", name="c", step_type="transform", depends_on=["a"], when=b'{"exists": ["${steps.a.output}"]}'
            ),
        ],
    )  # fmt: skip
    whole = json.dumps({**json.loads(document(*steps)), "config": config}).encode()
    async with world(tmp_path) as w:
        request = mission_pb2.SubmitMissionRequest(request_id="r", document=whole)
        first = await w.missions.SubmitMission(request, metadata=as_("ann"))
        request = mission_pb2.SubmitMissionRequest(request_id="r", mission=message)
        again = await w.missions.SubmitMission(request, metadata=as_("ann"))
        assert (again.created, again.digest) == (False, first.digest)
        await w.watch(first.mission_id)
        result = (await w.view(first.mission_id)).result
        assert result.overall_status == mission_pb2.OVERALL_STATUS_SUCCESS
        assert json.loads(result.step_results["b"].output) == [1, 2]


# --- the command line ---


async def test_the_command_line_approves(tmp_path: Path) -> None:
    """List, decide, follow: with the tokens of two people."""
    async with world(tmp_path) as w:
        mission_id, asked = await asking(w)
        ann = {"MISSIONGATE_SERVER": w.gateway.address, "MISSIONGATE_TOKEN": "ann-token"}
        ada = {**ann, "MISSIONGATE_TOKEN": "ada-token"}
        listed = await asyncio.to_thread(run, "approvals", env=ada)
        assert f"missiongate approve {mission_id} {asked.approval_id}" in listed.out
        done = await asyncio.to_thread(run, "approve", mission_id, "--yes", "-o", "json", env=ada)
        assert done.json["state"] == "approved"
        watched = await asyncio.to_thread(run, "watch", mission_id, "-o", "json", env=ann)
        assert watched.code == 0
        assert {"step.waiting", "mission.completed"} <= {line.get("kind") for line in watched.lines}


async def test_a_watch_of_the_command_line_goes_on_through_a_restart(tmp_path: Path) -> None:
    """The gateway stops and starts on its address while a client watches: each event once, and then the end."""
    async with world(tmp_path, drain_seconds=0.2) as w:
        mission_id, asked = await asking(w)
        address = w.gateway.address
        env = {"MISSIONGATE_SERVER": address, "MISSIONGATE_TOKEN": "ann-token"}
        watching = asyncio.create_task(asyncio.to_thread(run, "watch", mission_id, "-o", "json", env=env))
        await asyncio.sleep(0.5)
    async with world(tmp_path, listen=address) as w:
        await decided(w, asked)
        done = await watching
    assert done.code == 0, done.err
    indexes = [line["index"] for line in done.lines if "index" in line]
    assert indexes == list(range(len(indexes)))
    assert "mission.resumed" in {line.get("kind") for line in done.lines}


async def test_the_client_reads_results_while_the_mission_runs(tmp_path: Path) -> None:
    """Values, as the command line's get --step uses them."""
    async with world(tmp_path) as w:
        mission_id, asked = await asking(w)
        found: list[Any] = []

        def read() -> None:
            with Client(Server(w.gateway.address, "ann-token")) as client:
                found.extend(client.results(mission_id, follow=True))
                with pytest.raises(CallError):
                    list(client.results("nope"))

        thread = threading.Thread(target=read)
        thread.start()
        await decided(w, asked)
        await asyncio.to_thread(thread.join)
        assert [result.step_id for result in found] == ["ask", "write"]
