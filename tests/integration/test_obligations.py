"""Obligations in a real gateway: people who are asked by policy, values that nobody sees, and what a replay says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from gateway.policy.bundle import Bundle
from gateway.policy.redaction import MASK
from gateway.v1 import mission_pb2
from tests.cli_runner import run
from tests.gateways import calling, change_policy_data, events_of, new_home, serving, submitted
from tests.integration.test_rpc_control import decided, pending
from tests.obliging import oblige
from tests.opened_homes import opened_payloads
from tests.replays import TOKEN, replayed, service, verdicts
from tests.rpc_server import details
from tests.rpc_world import World, home_with_people, refused, step, world
from tests.subjects import commitments_in
from tests.worlds import laws_hold, mission
from tests.worlds import step as form_step

APPROVED = mission_pb2.APPROVAL_STATE_APPROVED
WRITE = step("w", "create_file", parameters={"path": "out.txt", "content": "x"})
ASKING = {"require_approval": True}


@asynccontextmanager
async def obliged(tmp_path: Path, **obligations: Any) -> AsyncIterator[World]:
    """Run a gateway whose policy asks for these."""
    oblige(SimpleNamespace(home=home_with_people(tmp_path)), **obligations)
    async with world(tmp_path) as w:
        yield w


async def asked(w: World, mission_id: str, entrypoint: str = "step") -> mission_pb2.Approval:
    """Return what a mission asks people for, once it does."""
    await w.seen(mission_id, "mission.waiting" if entrypoint == "mission" else "step.waiting")
    [approval] = await pending(w, mission_id)
    return approval


def written(w: World, mission_id: str) -> bool:
    return (w.home / "workspaces" / mission_id / "out.txt").exists()


@pytest.mark.parametrize("entrypoint", ["mission", "step", "effect"])
async def test_a_person_is_asked_and_then_it_goes_on(tmp_path: Path, entrypoint: str) -> None:
    """Not by who submitted it, whatever their roles; nothing is done before; the log and its laws hold."""
    key = "mission" if entrypoint == "mission" else "w"
    message = {"message": "Write it?", "approvers": ["approver"], "expires_in_seconds": 600}
    async with obliged(tmp_path, **{entrypoint: {key: {"require_approval": message}}}) as w:
        mission_id = (await w.submit("r", WRITE, who="max")).mission_id
        approval = await asked(w, mission_id, entrypoint)
        assert (approval.entrypoint, approval.message, list(approval.approvers)) == (
            entrypoint,
            "Write it?",
            ["approver"],
        )
        assert approval.step_id == ("" if entrypoint == "mission" else "w")
        view = await w.view(mission_id)
        assert view.waits_for == ("approval" if entrypoint == "mission" else "")
        error = await refused(decided(w, approval, "max"))
        assert details(error)[2].code == "approval.own_mission"
        assert not written(w, mission_id)
        done = await decided(w, approval, comment="go")
        assert (done.state, done.decided_by, list(done.decided_roles)) == (APPROVED, "ada", ["approver"])
        await w.watch(mission_id)
        view = await w.view(mission_id)
        assert (view.result.overall_status, view.waits_for) == (mission_pb2.OVERALL_STATUS_SUCCESS, "")
        assert written(w, mission_id)
        held = await w.events(f"{entrypoint}.held")
        committed = commitments_in(w.home, mission_id)
        assert held[0]["details"]["approval"]["digest"] == committed.of(approval.digest)


@pytest.mark.parametrize("entrypoint", ["mission", "step", "effect"])
async def test_a_no_stops_it(tmp_path: Path, entrypoint: str) -> None:
    """As policy's own: nothing is done, and the mission has failed."""
    key = "mission" if entrypoint == "mission" else "w"
    async with obliged(tmp_path, **{entrypoint: {key: ASKING}}) as w:
        mission_id = (await w.submit("r", WRITE)).mission_id
        approval = await asked(w, mission_id, entrypoint)
        await decided(w, approval, verdict=mission_pb2.APPROVAL_VERDICT_DENY, comment="no")
        await w.watch(mission_id)
        result = (await w.view(mission_id)).result
        error = result.error if entrypoint == "mission" else result.step_results["w"].error
        assert (error.code, error.message) == ("approval.denied", "denied by ada: no")
        assert not written(w, mission_id)


async def test_nobody_in_time_is_a_no(tmp_path: Path) -> None:
    """The clock ends it, of a mission as of a step."""
    soon = {"require_approval": {"expires_in_seconds": 1}}
    async with obliged(tmp_path, mission={"mission": soon}) as w:
        mission_id = (await w.submit("r", WRITE)).mission_id
        await w.watch(mission_id)
        assert (await w.view(mission_id)).result.error.code == "approval.expired"
        assert [each["details"]["state"] for each in await w.events("approval.decided")] == ["expired"]


async def test_a_bundle_that_changes_meanwhile_decides(tmp_path: Path) -> None:
    """The approval names the bundle that wanted it; the next one closes what was approved."""
    async with obliged(tmp_path, step={"w": ASKING}) as w:
        mission_id = (await w.submit("r", WRITE)).mission_id
        approval = await asked(w, mission_id)
        before = w.gateway.policy.digest

        def close(config: dict[str, Any]) -> None:
            config["files"]["write"]["closed_prefixes"] = ["out.txt"]

        change_policy_data(SimpleNamespace(home=w.home), close)  # type: ignore[arg-type]
        await w.gateway.policy.activate(Bundle.load(w.home / "policies"))
        await decided(w, approval)
        await w.watch(mission_id)
        error = (await w.view(mission_id)).result.step_results["w"].error
        assert error.code == "step.path_closed"
        assert not written(w, mission_id)
        [requested], [refusal] = await w.events("approval.requested"), await w.events("step.refused")
        assert requested["details"]["bundle"] == before != w.gateway.policy.digest
        assert refusal["details"]["bundle"] == w.gateway.policy.digest


async def test_the_command_line_shows_who_waits_and_for_whom(tmp_path: Path) -> None:
    """Plan says what a mission would need; get, list, approvals and approve say the same of one that waits."""
    async with obliged(
        tmp_path, mission={"mission": {"require_approval": {"approvers": ["approver"]}, "labels": {"risk": "high"}}}
    ) as w:
        mission_id = (await w.submit("r", WRITE)).mission_id
        await asked(w, mission_id, "mission")
        (tmp_path / "m.json").write_bytes(orjson.dumps({"version": "1.0", "name": "m", "steps": [WRITE]}))
        env = {"MISSIONGATE_SERVER": w.gateway.address, "MISSIONGATE_TOKEN": "ann-token"}
        told = {**env, "MISSIONGATE_TOKEN": "ada-token"}

        async def said(*arguments: object, env: dict[str, str] = env) -> str:
            done = await asyncio.to_thread(run, *arguments, env=env, width=160)
            assert done.code == 0, done.err
            return str(done.out)

        for where in (["--server", w.gateway.address], ["--home", w.home]):
            out = await said("plan", tmp_path / "m.json", *where)
            assert "waits for an approval by a role of approver before its first step · labelled risk=high" in out
        out = await said("get", mission_id)
        assert "waits for an approval" in out
        assert "policy: risk=high" in out
        assert "Waiting" in await said("list")
        out = await said("approvals", env=told)
        assert "policy, mission, until" in out
        out = await said("approve", mission_id, "--yes", env=told)
        assert "asks" in out
        assert "policy, about the mission" in out
        await w.watch(mission_id)
        out = await said("watch", mission_id)
        assert "Waiting" in out


def bytes_of(home: Path) -> bytes:
    """Return everything that a home holds."""
    files = b"".join(path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file())
    return files + b"".join(content for _, content in opened_payloads(home))


def calling_service(folder: Path, port: int, **obligations: Any) -> Any:
    """Make a home that may ask the service, under these obligations."""
    made = new_home(folder)

    def change(config: dict[str, Any]) -> None:
        config["networks"]["allow"] = [f"127.0.0.1:{port}"]
        config["http"]["hosts"]["127.0.0.1"] = {"ports": [port], "methods": ["POST"]}

    change_policy_data(made, change)
    oblige(made, **obligations)
    return made


def order(port: int, step_id: str = "call", **fields: Any) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}/orders"
    return form_step(step_id, kind="http", url=url, method="POST", body="hello", **fields)


async def test_what_a_step_may_not_show_is_masked_and_replays(tmp_path: Path) -> None:
    """A later step, the results and an item's list have the mask; a replay comes to the same digests."""
    with service() as port:
        redact = {"redact": ["/output/body/token", "/output/headers/none", "/output/status"]}
        made = calling_service(tmp_path, port, step={"call": redact, "each": {"redact": ["/output/*"]}})
        later = form_step("later", "call", kind="transform", input="${steps.call.output.body}")
        each = form_step("each", kind="transform", input=["${item}"], foreach={"items": ["x", "y"]})
        async with serving(made) as gateway:
            view = await submitted(gateway, made, mission(order(port), later, each))
    results = view["result"]["step_results"]
    assert results["call"]["output"]["body"] == {"echo": "hello", "token": MASK}
    assert results["call"]["output"]["status"] == MASK
    assert results["later"]["output"] == {"echo": "hello", "token": MASK}
    assert results["each"]["output"] == [[MASK], [MASK]]
    code, told = await asyncio.to_thread(replayed, made.home, view["mission_id"])
    assert (code, verdicts(told)) == (0, {"call": "same", "later": "same", "each": "same"})
    events = events_of(made)
    laws_hold(events)
    [redacted] = [e for e in events if e.event_type == "step.output_redacted" and e.target.endswith("/call")]
    assert redacted.details["count"] == 2
    assert redacted.details["masked"] == sorted(redact["redact"])
    assert TOKEN not in repr(events)


async def test_what_a_step_is_not_to_have_is_nowhere(tmp_path: Path) -> None:
    """Masked in the outcome of its effect: no file of the home has it, nor did the module; a replay agrees."""
    with service() as port:
        made = calling_service(tmp_path, port, effect={"call": {"redact": ["/outcome/body"]}})
        async with serving(made) as gateway:
            view = await submitted(gateway, made, mission(order(port)))
    assert view["result"]["step_results"]["call"]["output"]["body"] == MASK
    assert TOKEN.encode() not in bytes_of(made.home)
    code, told = await asyncio.to_thread(replayed, made.home, view["mission_id"])
    assert (code, verdicts(told)) == (0, {"call": "same"})
    performed = [e for e in events_of(made) if e.event_type == "effect.performed"]
    assert [e.details["masked_places"] for e in performed] == [1]


async def test_a_large_content_that_nobody_sees_is_not_kept_as_a_blob(tmp_path: Path) -> None:
    """Neither under its name nor under its digest."""
    secret = b"hunter2 " * 20_000
    made = new_home(tmp_path)
    oblige(made, effect={"read": {"redact": ["/outcome/content"]}})
    async with serving(made) as gateway:
        write = form_step("write", kind="create_file", path="in.txt", content="x")
        view = await submitted(gateway, made, mission(write))
        kept = made.home / "workspaces" / view["mission_id"] / "in.txt"
        assert kept.read_bytes() == b"x"
        wait = form_step("wait", kind="delay", ms=300)
        read = form_step("read", "wait", kind="read_file", path="big.txt")

        def call() -> Any:
            with calling(gateway.address, made) as client:
                mission_id = client.submit(orjson.dumps(mission(wait, read)), "big").mission_id
                for event in client.watch(mission_id):
                    if event.kind == "step.executing":
                        (made.home / "workspaces" / mission_id / "big.txt").write_bytes(secret)
                return client.get(mission_id).document()

        view = await asyncio.to_thread(call)
    assert view["result"]["step_results"]["read"]["output"]["content"] == MASK
    blobs = made.home / "workspaces" / ".blobs"
    assert [path for path in blobs.rglob("*") if path.is_file()] == []


async def test_replay_follows_a_step_whose_effects_waited_for_a_person(tmp_path: Path) -> None:
    """Decided twice over, under narrower bounds the second time: fuel, effects and output come out the same."""
    async with obliged(tmp_path, effect={"w": ASKING}, step={"w": {"labels": {"a": "b"}}}) as w:
        mission_id = (await w.submit("r", WRITE)).mission_id
        approval = await asked(w, mission_id)
        narrow = {"require_approval": False, "constraints": {"memory_bytes_max": 4_194_304}, "redact": ["/output/path"]}
        oblige(SimpleNamespace(home=w.home), effect={"w": ASKING}, step={"w": narrow})
        await w.gateway.policy.activate(Bundle.load(w.home / "policies"))
        await decided(w, approval)
        await w.watch(mission_id)
        output = orjson.loads((await w.view(mission_id)).result.step_results["w"].output)
        assert output["path"] == MASK
    code, told = await asyncio.to_thread(replayed, tmp_path / "home", mission_id)
    assert (code, verdicts(told)) == (0, {"w": "same"})
