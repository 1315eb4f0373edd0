"""Two tenants in one gateway, neither of which runs it, with people of every role; and all that one of them has."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc.aio

from gateway.config import CONFIG_NAME
from gateway.store.paging import token_after
from gateway.v1 import audit_pb2, hook_pb2, mission_pb2
from tests.gateways import change_policy_data, new_home, serving
from tests.hook_folders import ACME, files_of
from tests.rpc_methods import Answer, ask

CONFIG = json.loads((Path(__file__).resolve().parent.parent / "policies/data.json").read_text())["gateway"]["config"]
ROLES = (*CONFIG["roles"],)
TENANTS = ("red", "blue", "default")
EVERYTHING = "everything"  # who has every role at once
MARK = "7f3a9e"  # stands in all that red calls something
AUDIT, HOOKS, MISSIONS = "gateway.v1.AuditService", "gateway.v1.HookService", "gateway.v1.MissionService"


@dataclass(frozen=True, slots=True, kw_only=True)
class Things:
    """What can be addressed: red's, or what is nowhere."""

    mission: str  # has ended
    waiting: str  # waits for an approval
    approval: str
    digest: str  # of what is approved
    request_id: str
    hook: str
    version: str
    hook_token: str  # of the page after it
    mission_token: str
    step_token: str
    pseudonym: str
    tenant: str
    subject: str
    event_id: str
    seq: int
    decision: str
    bundle: str

    @property
    def texts(self) -> list[str]:
        """All of them that are texts, the longest first."""
        values = [getattr(self, each.name) for each in fields(self)]
        return sorted((value for value in values if isinstance(value, str)), key=len, reverse=True)


NOWHERE = Things(
    mission="0192aaaa-bbbb-7ccc-8ddd-eeeeffff0001",
    waiting="0192aaaa-bbbb-7ccc-8ddd-eeeeffff0002",
    approval="0192aaaa-bbbb-7ccc-8ddd-eeeeffff0003",
    digest="sha256:" + "0" * 64,
    request_id="nowhere",
    hook="nowhere",
    version="9.9.9",
    hook_token=token_after("nowhere@9.9.9"),
    mission_token=token_after("0192aaaa-bbbb-7ccc-8ddd-eeeeffff0001"),
    step_token=token_after("0192aaaa-bbbb-7ccc-8ddd-eeeeffff0001\nonly"),
    pseudonym="s-" + "a" * 26,
    tenant="nowhere",
    subject="nobody",
    event_id="0" * 32,
    seq=2**40,
    decision="0" * 32,
    bundle="sha256:" + "1" * 64,
)


@dataclass
class TwoTenants:
    """A gateway, and what one tenant has in it."""

    channel: grpc.aio.Channel
    red: Things  # or those of whoever else owns what there is
    marks: tuple[str, ...]  # each of which is the owner's alone

    async def ask(self, who: str | None, path: str, *requests: Any) -> Answer:
        """Call a method as somebody: `blue-admin`, `red-submitter`, …; None has no credential."""
        return await ask(self.channel, path, requests, as_(who))

    async def snapshot(self) -> list[Answer]:
        """Return all that red has, as red sees it: what nobody else may have changed."""
        of, watcher = self.red, "red-operator"
        asked: list[tuple[str, str, Any]] = [
            (watcher, f"{MISSIONS}/ListMissions", mission_pb2.ListMissionsRequest()),
            (watcher, f"{MISSIONS}/GetMission", mission_pb2.GetMissionRequest(mission_id=of.mission)),
            (watcher, f"{MISSIONS}/GetMission", mission_pb2.GetMissionRequest(mission_id=of.waiting)),
            (watcher, f"{MISSIONS}/WatchMission", mission_pb2.WatchMissionRequest(mission_id=of.mission)),
            (watcher, f"{MISSIONS}/ListApprovals", mission_pb2.ListApprovalsRequest()),
            ("red-publisher", f"{HOOKS}/GetHook", hook_pb2.GetHookRequest(name=of.hook)),
        ]
        answers = [await self.ask(who, path, request) for who, path, request in asked]
        assert {answer.code for answer in answers} == {grpc.StatusCode.OK}, answers
        return answers


def as_(who: str | None) -> Any:
    return None if who is None else (("authorization", f"Bearer {who}-token"),)


def document_of(name: str, *steps: dict[str, Any]) -> bytes:
    return json.dumps({"version": "1.0", "name": name, "steps": list(steps)}).encode()


def step_of(step_id: str, step_type: str = "transform", **parameters: Any) -> dict[str, Any]:
    return {"id": step_id, "name": step_id, "step_type": step_type, "parameters": parameters}


@asynccontextmanager
async def two_tenants(folder: Path, owner: str = "red") -> AsyncIterator[TwoTenants]:
    """Run a gateway in which one tenant has missions, an approval, a hook and events."""
    made = new_home(folder)
    with (made.home / CONFIG_NAME).open("a") as config:
        config.write(f'\n[[publishers]]\nkey = "{ACME.verifier_key()}"\n')
        for tenant in TENANTS:
            for name, roles in {EVERYTHING: list(ROLES), "nil": [], **{role: [role] for role in ROLES}}.items():
                digest = sha256(f"{tenant}-{name}-token".encode()).hexdigest()
                subject = f"{tenant}-{name}" + (MARK if tenant == owner else "")
                config.write(
                    f'\n[[tokens]]\nsubject = "{subject}"\ntenant = "{tenant}"\nroles = {roles}\nsha256 = "{digest}"\n'
                )
    change_policy_data(made, lambda config: config["kinds"].update(open_of(f"hook_{MARK}", "nowhere")))
    async with serving(made, sandbox=1) as gateway, grpc.aio.insecure_channel(gateway.address) as channel:
        yield await _filled(TwoTenants(channel, NOWHERE, ()), owner, gateway.bundle.digest)


def open_of(*kinds: str) -> dict[str, Any]:
    return {kind: {"profile": "wasm", "effects": [], "closed_taint": []} for kind in kinds}


async def _filled(world: TwoTenants, owner: str, bundle: str) -> TwoTenants:
    """Let a tenant do what a tenant does."""
    who, request_id = f"{owner}-submitter", f"request-{MARK}"
    asking = step_of("ask", "approval", message=f"agree to {MARK}?")
    done = await _submitted(world, who, request_id, document_of(f"mission-{MARK}", step_of("only")))
    waiting = await _submitted(world, who, f"other-{MARK}", document_of(f"waiting-{MARK}", asking))
    approval = await _approval(world, who, waiting)
    drained = await world.ask(who, f"{MISSIONS}/WatchMission", mission_pb2.WatchMissionRequest(mission_id=done))
    assert drained.code is grpc.StatusCode.OK, drained
    files = files_of(f"hook_{MARK}")
    header = hook_pb2.PublishHookHeader(manifest=files.manifest, schema=files.schema, signature=files.signature)
    parts = (hook_pb2.PublishHookRequest(header=header), hook_pb2.PublishHookRequest(module=files.module))
    published = await world.ask(f"{owner}-publisher", f"{HOOKS}/PublishHook", *parts)
    assert published.code is grpc.StatusCode.OK, published
    event = await _admitted(world, done)
    red = Things(
        mission=done,
        waiting=waiting,
        approval=approval.approval_id,
        digest=approval.digest,
        request_id=request_id,
        hook=f"hook_{MARK}",
        version="1.0.0",
        hook_token=token_after(f"hook_{MARK}@1.0.0"),
        mission_token=token_after(done),
        step_token=token_after(f"{done}\nonly"),
        pseudonym=event["actor"],
        tenant=owner,
        subject=f"{who}{MARK}",
        event_id=event["event_id"],
        seq=event["seq"],
        decision=event["details"].get("decision_id", NOWHERE.decision),
        bundle=bundle,
    )
    mine = (red.mission, red.waiting, red.approval, red.digest, red.pseudonym, red.event_id, MARK)
    return TwoTenants(world.channel, red, mine)


async def _submitted(world: TwoTenants, who: str, request_id: str, document: bytes) -> str:
    request = mission_pb2.SubmitMissionRequest(request_id=request_id, document=document)
    answer = await world.ask(who, f"{MISSIONS}/SubmitMission", request)
    assert answer.code is grpc.StatusCode.OK, answer
    return mission_pb2.SubmitMissionResponse.FromString(answer.responses[0]).mission_id


async def _approval(world: TwoTenants, who: str, mission_id: str) -> mission_pb2.Approval:
    """Return the approval that a mission waits for, once it does."""
    request = mission_pb2.ListApprovalsRequest(mission_id=mission_id)
    while True:
        answer = await world.ask(who, f"{MISSIONS}/ListApprovals", request)
        found = mission_pb2.ListApprovalsResponse.FromString(answer.responses[0]).approvals
        if found:
            return found[0]


async def _admitted(world: TwoTenants, mission_id: str) -> dict[str, Any]:
    """Return the event of a mission's admission."""
    answer = await world.ask("default-auditor", f"{AUDIT}/ReadEvents", audit_pb2.ReadEventsRequest())
    lines = [line for each in answer.responses for line in audit_pb2.ReadEventsResponse.FromString(each).lines]
    events: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return next(e for e in events if e["event_type"] == "mission.admitted" and e["target"] == mission_id)
