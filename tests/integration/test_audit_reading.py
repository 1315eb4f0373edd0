"""Reading the log of a real gateway: who sees what, that it is recorded, and that what is given out verifies."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import orjson
import pytest
import pytest_asyncio

from engine.audit.verify import verify_bundle, verify_proof
from gateway.v1 import audit_pb2
from tests.cli_runner import Ran, run
from tests.rpc_world import World, as_, refused, step, world
from tests.subjects import names_in

LOG, TENANT = audit_pb2.AUDIT_SCOPE_LOG, audit_pb2.AUDIT_SCOPE_TENANT


class Reading:
    """A gateway that has run a mission of each of two tenants, and calls to its AuditService."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.red = self.blue = ""  # missions: ann's, of `default`, and bob's, of `other`

    async def fill(self) -> None:
        for who in ("ann", "bob"):
            admitted = await self.world.submit(f"r-{who}", step("a"), who=who)
            await self.world.watch(admitted.mission_id, who=who)
            setattr(self, {"ann": "red", "bob": "blue"}[who], admitted.mission_id)
        await refused(self.world.view(self.red, "nil"))

    async def events(self, who: str, **fields: Any) -> list[dict[str, Any]]:
        request = audit_pb2.QueryEventsRequest(**fields)
        answers = self.world.log.QueryEvents(request, metadata=as_(who))
        return [orjson.loads(event.line) async for answer in answers for event in answer.events]

    async def seq_of(self, mission: str) -> int:
        """Return the seq of a mission's admission."""
        found = await self.events("eve", mission_id=mission, filter={"event_types": ["mission.admitted"]}, scope=LOG)
        return int(found[0]["seq"])

    async def allowed(self, who: str, method: str, request: Any) -> bool:
        """Return whether policy lets somebody call."""
        call = getattr(self.world.log, method)(request, metadata=as_(who))
        try:
            await (call.read() if isinstance(call, grpc.aio.UnaryStreamCall) else call)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.PERMISSION_DENIED:
                return False
            raise
        return True


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def reading(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Reading]:
    """One gateway for the module."""
    async with world(tmp_path_factory.mktemp("reading")) as running:
        made = Reading(running)
        await made.fill()
        yield made


def of_others(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return events without those that say what somebody of one's own tenant has asked for, allowed or not."""
    return [event for event in events if event["event_type"] not in {"audit.read", "rpc.denied"}]


pytestmark = pytest.mark.asyncio(loop_scope="module")

# Who may call what: eve audits for the operator's tenant, aud for another, opi is an operator, ann and amy submit in
# one tenant, bob in the other; vic and ada only look at missions.
MATRIX = {
    "eve": {
        "raw",
        "log",
        "tenant",
        "own",
        "amy's tenant",
        "foreign",
        "prove own",
        "prove foreign",
        "prove gateway",
        "hashes",
    },
    "aud": {"tenant", "foreign", "prove foreign", "hashes"},
    "opi": {"tenant", "own", "prove own", "hashes"},
    "ann": {"own", "prove own", "hashes"},
    "amy": {"hashes"},
    "bob": {"foreign", "prove foreign", "hashes"},
    "vic": set(),
    "ada": set(),
    "nil": set(),
}


@pytest.mark.parametrize("who", MATRIX)
async def test_who_may_read_what(reading: Reading, who: str) -> None:
    """Each role, of either tenant, at a mission of its own, of its tenant, of another, at the gateway's and at all."""
    own, foreign = await reading.seq_of(reading.red), await reading.seq_of(reading.blue)
    asked = {
        "raw": ("ReadEvents", audit_pb2.ReadEventsRequest(count=1)),
        "log": ("QueryEvents", audit_pb2.QueryEventsRequest(scope=LOG, limit=1)),
        "tenant": ("QueryEvents", audit_pb2.QueryEventsRequest(scope=TENANT, limit=1)),
        "own": ("QueryEvents", audit_pb2.QueryEventsRequest(mission_id=reading.red, limit=1)),
        "foreign": ("QueryEvents", audit_pb2.QueryEventsRequest(mission_id=reading.blue, limit=1)),
        "prove own": ("ProveInclusion", audit_pb2.ProveInclusionRequest(seq=own)),
        "prove foreign": ("ProveInclusion", audit_pb2.ProveInclusionRequest(seq=foreign)),
        "prove gateway": ("ProveInclusion", audit_pb2.ProveInclusionRequest(seq=0)),
        "hashes": ("ProveConsistency", audit_pb2.ProveConsistencyRequest(old_size=1)),
    }
    may = {name for name, (method, request) in asked.items() if await reading.allowed(who, method, request)}
    empty = {"foreign"} if who in {"eve", "opi"} else {"own"} if who == "aud" else set()  # allowed, and shows nothing
    assert may == (MATRIX[who] & asked.keys()) | empty
    for name in empty:
        mission = reading.blue if name == "foreign" else reading.red
        assert not of_others(await reading.events(who, mission_id=mission))


async def test_a_tenant_sees_nothing_of_another(reading: Reading) -> None:
    """Neither events of its missions, nor those of its people, nor the gateway's own."""
    for who, other in (("eve", reading.blue), ("opi", reading.blue), ("aud", reading.red)):
        seen = await reading.events(who)
        assert seen
        assert not [event for event in of_others(seen) if other in orjson.dumps(event).decode()]
        names = names_in(reading.world.home)
        assert {names[event["actor"]] for event in seen} <= (
            {"default/ann", "default/amy", "default/eve", "default/opi", "default/nil", "default/vic", "default/ada"}
            if who != "aud"
            else {"other/bob", "other/aud"}
        )
    every = await reading.events("eve", scope=LOG)
    assert {"audit.opened", "gateway.started"} <= {event["event_type"] for event in every}
    assert [event["seq"] for event in every] == list(range(len(every)))


async def test_a_submitter_sees_all_of_its_own_mission(reading: Reading) -> None:
    """Also who was refused it."""
    types = [event["event_type"] for event in await reading.events("ann", mission_id=reading.red)]
    assert types[:4] == ["mission.admitted", "step.allowed", "step.ended", "mission.ended"]
    assert "rpc.denied" in types


async def test_a_read_is_recorded_before_it_and_a_followed_one_after_it_too(reading: Reading) -> None:
    """By whom, with filter and range; at its end how far it got and how much was read."""
    call = reading.world.log.QueryEvents(
        audit_pb2.QueryEventsRequest(
            mission_id=reading.red, filter={"event_types": ["step.*"]}, follow=True, after_seq=1
        ),
        metadata=as_("ann"),
    )
    read = 0
    while True:
        answer = await call.read()
        read += len(answer.events)
        if answer.caught_up:
            break
    call.cancel()
    found: list[dict[str, Any]] = []
    while len(found) < 2:
        await asyncio.sleep(0.02)
        found = await reading.events("eve", filter={"principal": "default/ann", "event_types": ["audit.read"]})
        found = [event for event in found if event["details"].get("follow") or event["details"].get("ended")]
    begun, ended = (event["details"] for event in found)
    assert begun["filter"] == {"mission_id": reading.red, "event_types": ["step.*"]}
    assert (begun["mission_id"], begun["first"], begun["tenant"]) == (reading.red, 2, "default")
    assert (ended["first"], ended["events"], ended["tenant"]) == (2, read, "default")
    assert ended["end"] >= begun["end"]


async def test_a_proof_from_the_gateway_verifies_offline(reading: Reading) -> None:
    """By the verifier that shares no code with the writer, with nothing but the key from elsewhere."""
    seq = await reading.seq_of(reading.red)
    answer = await reading.world.log.ProveInclusion(audit_pb2.ProveInclusionRequest(seq=seq), metadata=as_("ann"))
    report = verify_proof(answer.tlog_proof, answer.line, reading.world.gateway.verifier_key)
    assert report.ok, report
    assert not verify_proof(answer.tlog_proof, answer.line + b" ", reading.world.gateway.verifier_key).ok


async def command(reading: Reading, who: str, *args: object) -> Ran:
    """Run a command against the gateway, from a thread of its own."""
    env = {"MISSIONGATE_TOKEN": f"{who}-token"}
    return await asyncio.to_thread(run, "audit", *args, "--server", reading.world.gateway.address, width=200, env=env)


async def test_the_command_line_shows_proves_and_exports_from_a_gateway(reading: Reading, tmp_path: Path) -> None:
    """The same lines as the files have; an export verifies, and is one read in the log."""
    shown = await command(reading, "ann", "show", "--mission", reading.red, "-o", "lines", "--type", "step.*")
    lines = (reading.world.home / "audit" / "segments" / f"{0:020d}.jsonl").read_bytes().splitlines()
    assert shown.code == 0
    assert shown.out.encode().splitlines() == [
        line for line in lines if b'"event_type":"step.' in line and reading.red.encode() in line
    ]
    assert (await command(reading, "ann", "show", "-o", "json")).code == 3
    out = tmp_path / "bundle"
    done = await command(reading, "eve", "export", "--mission", reading.red, "--out", out, "-o", "json")
    assert done.code == 0, done.out
    report = verify_bundle(out, reading.world.gateway.verifier_key)
    assert report.ok, report
    assert done.json["events"] == report.events > 4
    whole = tmp_path / "whole"
    assert (await command(reading, "eve", "export", "--all-tenants", "--out", whole)).code == 0
    assert verify_bundle(whole, reading.world.gateway.verifier_key).complete
    proof = tmp_path / "one.tlog-proof"
    seq = await reading.seq_of(reading.red)
    assert (await command(reading, "ann", "prove", seq, "--out", proof)).code == 0
    event = proof.with_suffix(".event").read_bytes()
    assert verify_proof(proof.read_bytes(), event, reading.world.gateway.verifier_key).ok
    assert (await command(reading, "ann", "prove", "--consistency", 1, "-o", "json")).json["old_size"] == 1
    assert (await command(reading, "bob", "prove", seq, "-o", "json")).code == 3
    assert (await command(reading, "eve", "show", "--all-tenants", "--limit", 2, "-o", "json")).out.count("\n") == 2
