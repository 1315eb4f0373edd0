"""A whole gateway whose data keep duties apart, give tenants their limits and close what time closes."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from gateway.config import load_config
from gateway.v1 import mission_pb2
from tests.rpc_world import World, as_, home_with_people, refused, step, world

FIRST, SECOND = (step(name, "approval", parameters={"message": f"{name}?"}) for name in ("first", "second"))


def merged(base: Any, part: Any) -> Any:
    if not isinstance(base, Mapping) or not isinstance(part, Mapping):
        return part
    return {**base, **{key: merged(base.get(key), value) for key, value in part.items()}}


def configured(tmp_path: Path, part: dict[str, Any]) -> None:
    """Make a home whose policy data has this part."""
    home = home_with_people(tmp_path)
    path = home / load_config(home).policy.source / "data.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps(merged(data, {"gateway": {"config": part}})))


async def asked(w: World, mission_id: str) -> dict[str, mission_pb2.Approval]:
    request = mission_pb2.ListApprovalsRequest(mission_id=mission_id, pending_only=True)
    answer = await w.missions.ListApprovals(request, metadata=as_("ada"))
    return {each.step_id: each for each in answer.approvals}


def approving(w: World, approval: mission_pb2.Approval, who: str) -> Any:
    request = mission_pb2.DecideApprovalRequest(
        mission_id=approval.mission_id,
        approval_id=approval.approval_id,
        digest=approval.digest,
        verdict=mission_pb2.APPROVAL_VERDICT_APPROVE,
    )
    return w.missions.DecideApproval(request, metadata=as_(who))


def codes(error: grpc.aio.AioRpcError) -> str:
    return (error.details() or "") + str(error.trailing_metadata())


async def test_two_approvals_are_two_people(tmp_path: Path) -> None:
    """`distinct_approvers`: the first approver is refused for the second question, another one is not."""
    configured(tmp_path, {"approvals": {"separation": {"distinct_approvers": True}}})
    async with world(tmp_path) as w:
        mission_id = (await w.submit("r", FIRST, {**SECOND, "depends_on": ["first"]})).mission_id
        await w.seen(mission_id, "step.waiting", of="first")
        await approving(w, (await asked(w, mission_id))["first"], "ada")
        await w.seen(mission_id, "step.waiting", of="second")
        second = (await asked(w, mission_id))["second"]
        error = await refused(approving(w, second, "ada"))
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "rpc.approver_repeated" in codes(error)
        assert (await approving(w, second, "max")).approval.decided_by == "max"
        [denied] = await w.events("rpc.denied")
        assert denied["details"].keys() >= {"reasons", "bundle", "mission_id", "tenant"}
        assert (
            denied["details"].keys().isdisjoint({"submitter", "submitter_roles", "approved_by"})
        )  # of others, who have not called


async def test_two_yeses_at_once_are_not_one_person(tmp_path: Path) -> None:
    """Both questions are open, and one person answers both in the same moment: one yes is taken."""
    configured(tmp_path, {"approvals": {"separation": {"distinct_approvers": True}}})
    async with world(tmp_path) as w:
        mission_id = (await w.submit("r", FIRST, SECOND)).mission_id
        for name in ("first", "second"):
            await w.seen(mission_id, "step.waiting", of=name)
        both = (await asked(w, mission_id)).values()
        answers = await asyncio.gather(*(approving(w, each, "ada") for each in both), return_exceptions=True)
        errors = [each for each in answers if isinstance(each, grpc.aio.AioRpcError)]
        assert len(errors) == 1
        assert any(code in codes(errors[0]) for code in ("approval.raced", "rpc.approver_repeated"))
        assert len(await asked(w, mission_id)) == 1


async def test_who_may_submit_does_not_approve(tmp_path: Path) -> None:
    """`excluded_roles`: max has both roles, and may not decide even what ann has asked for."""
    configured(tmp_path, {"approvals": {"separation": {"excluded_roles": ["submitter"]}}})
    async with world(tmp_path) as w:
        mission_id = (await w.submit("r", FIRST)).mission_id
        await w.seen(mission_id, "step.waiting")
        approval = (await asked(w, mission_id))["first"]
        assert "rpc.approver_excluded" in codes(await refused(approving(w, approval, "max")))
        assert (await approving(w, approval, "ada")).approval.decided_by == "ada"


async def test_an_approval_of_another_mission_is_nobodys_to_decide(tmp_path: Path) -> None:
    """The id of an approval under the id of another mission: policy is not told who approved there."""
    configured(tmp_path, {"approvals": {"separation": {"distinct_approvers": True}}})
    async with world(tmp_path) as w:
        missions = [(await w.submit(f"r{i}", FIRST)).mission_id for i in range(2)]
        for each in missions:
            await w.seen(each, "step.waiting")
        approval = (await asked(w, missions[0]))["first"]
        approval.mission_id = missions[1]
        assert (await refused(approving(w, approval, "ada"))).code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(("place", "kind"), [("rpc", ""), ("mission", ""), ("step", "Failed"), ("effect", "Failed")])
async def test_what_is_closed_now_is_refused_where_it_is_asked(tmp_path: Path, place: str, kind: str) -> None:
    """The gateway's own clock, in a window of this century: the denial has the code of the place."""
    chosen = {"methods": ["gateway.v1.MissionService/SubmitMission"]} if place == "rpc" else {"kinds": ["create_file"]}
    closing = {"name": "always", "at": [place], "closed_in": ["century"], "message": "not in this century", **chosen}
    windows = {"century": {"starts": "2000-01-01T00:00:00Z", "ends": "2100-01-01T00:00:00Z"}}
    configured(tmp_path, {"windows": windows, "closings": [closing]})
    write = step("write", "create_file", parameters={"path": "out/x", "content": "x"})
    async with world(tmp_path) as w:
        if not kind:
            assert f"{place}.closed_now" in codes(await refused(w.submit("r", write)))
            return
        mission_id = (await w.submit("r", write)).mission_id
        await w.watch(mission_id)
        [refusal] = await w.events(f"{place}.refused")
        assert [reason["code"] for reason in refusal["details"]["reasons"]] == [f"{place}.closed_now"]


async def test_a_tenant_is_held_to_its_grants_and_limits(tmp_path: Path) -> None:
    """The tenant of ann may write under out/ and has small files; bob's has no grant, and hears so with its plan."""
    configured(
        tmp_path,
        {
            "capabilities": {
                "required": ["file.write"],
                "grants": [{"name": "out", "tenants": ["default"], "write": ["out/"]}],
            },
            "limits": {"tenants": {"default": {"file_write_bytes_max": 4}}},
            "missions": {"limits": {"tenants": {"default": {"steps_max": 1}}}},
        },
    )

    def write(path: str, content: str = "x", name: str = "write") -> dict[str, object]:
        return step(name, "create_file", parameters={"path": path, "content": content})

    async with world(tmp_path) as w:
        done = (await w.submit("done", write("out/x", "four"))).mission_id
        assert (await w.watch(done))[-1][1] == "mission.completed"
        elsewhere = (await w.submit("elsewhere", write("in/x"))).mission_id
        assert (await w.watch(elsewhere))[-1][1] == "mission.failed"
        [refusal] = await w.events("effect.refused")
        assert [reason["code"] for reason in refusal["details"]["reasons"]] == ["effect.capability_missing"]
        large = (await w.submit("large", write("out/y", "five!"))).mission_id
        assert (await w.watch(large))[-1][1] == "mission.failed"
        [failed] = await w.events("effect.failed")
        assert failed["details"]["code"] == "effect.too_large"
        assert "mission.limit" in codes(await refused(w.submit("two", write("out/a"), write("out/b", name="b"))))
        assert "mission.capability_missing" in codes(await refused(w.submit("bob", write("out/x"), who="bob")))
