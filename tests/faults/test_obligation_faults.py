"""Faults around people and masks: a gateway killed between a yes and the act, stores and logs that fail in between."""

import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.audit.errors import AuditUnavailableError
from engine.result import MissionState
from gateway.client import Client, Server
from gateway.config import CONFIG_NAME
from gateway.errors import StoreError
from gateway.home import NewHome
from tests.cli_runner import run
from tests.depth import some
from tests.gateways import Program, calling, change_policy_data, events_of, new_home
from tests.integration.test_crashes import counting
from tests.obliging import oblige
from tests.unit.gateway.consents import decide, pending, story, waiting, wanting
from tests.worlds import ANN, World, laws_hold, mission, step, write

FORM = mission(step("a", kind="acting", batches=[[write()]], output=1))
ENTRYPOINTS = ["mission", "step", "effect"]
ADA = "ada-token"
WAIT_SECONDS_MAX = 60


def asking_home(folder: Path, port: int, entrypoint: str) -> NewHome:
    """Make a home whose policy wants a person's yes at one place of a mission that orders something."""
    made = new_home(folder)

    def change(config: dict[str, Any]) -> None:
        config["networks"]["allow"] = [f"127.0.0.1:{port}"]
        config["http"]["hosts"]["127.0.0.1"] = {"ports": [port], "methods": ["POST"]}
        rule = {"effects": ["http.request"], "hosts": ["127.0.0.1"], "kinds": ["http"], "tenants": ["default"]}
        config["secrets"] = {"TOKEN": rule}

    change_policy_data(made, change)
    (folder / "value").write_bytes(b"hunter2-and-more")
    kept = run("secret", "set", "TOKEN", "--from-file", folder / "value", "--home", made.home)
    assert kept.code == 0, kept.err
    key = "mission" if entrypoint == "mission" else "order"
    oblige(made, **{entrypoint: {key: {"require_approval": True, "labels": {"a": "b"}}}})
    with (made.home / CONFIG_NAME).open("a") as config:
        digest = sha256(ADA.encode()).hexdigest()
        config.write(f'\n[[tokens]]\nsubject = "ada"\ntenant = "default"\nroles = ["approver"]\nsha256 = "{digest}"\n')
    return made


def asked(client: Client, mission_id: str) -> dict[str, Any]:
    """Return what the mission asks people for, once it does."""
    until = time.monotonic() + WAIT_SECONDS_MAX
    while not (found := client.list_approvals(mission_id).approvals):
        assert time.monotonic() < until, "nobody is asked"
        time.sleep(0.01)
    [approval] = found
    return approval.document()


@pytest.mark.parametrize("entrypoint", some(ENTRYPOINTS[-1:], ENTRYPOINTS))
def test_a_gateway_that_is_killed_around_a_yes_acts_once(tmp_path: Path, entrypoint: str) -> None:
    """Killed while it waits, and again right after the yes: the question is the same, and so is the answer.

    Though the handles of its secret are others in each process.
    """
    with counting() as (port, orders):
        made = asking_home(tmp_path, port, entrypoint)
        url = f"http://127.0.0.1:{port}/orders"
        fields: dict[str, Any] = {"kind": "http", "url": url, "method": "POST", "body": "x", "idempotent": True}
        fields["headers"] = {"authorization": "Bearer ${secrets.TOKEN}"}
        program = Program.start(made)
        with calling(program.address, made) as client:
            mission_id = client.submit(orjson.dumps(mission(step("order", **fields))), "r").mission_id
            first = asked(client, mission_id)
        program.kill()
        program = Program.start(made)
        with Client(Server(program.address, ADA)) as client:
            again = asked(client, mission_id)
            assert (again["approval_id"], again["digest"]) == (first["approval_id"], first["digest"])
            assert not orders
            client.decide_approval(mission_id, again["approval_id"], approve=True, digest=again["digest"])
        program.kill()
        program = Program.start(made)
        with calling(program.address, made) as client:
            for _ in client.watch(mission_id):
                pass
            view = client.get(mission_id).document()
        assert program.terminate() == 0
    assert view["result"]["overall_status"] == "Success", view
    assert set(orders.values()) <= {1, 2}  # 2: killed in the middle of one that may be repeated
    assert len(orders) == 1
    events = events_of(made)
    laws_hold(events, killed=True)
    assert {e.details["approval_id"] for e in events if e.event_type.startswith("approval.")} == {first["approval_id"]}


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
@pytest.mark.parametrize(
    "point", ["audit.append:approval.requested", "audit.durable:approval.requested", "audit.append:approval.decided"]
)
def test_without_the_log_nothing_goes_on(entrypoint: str, point: str) -> None:
    """A question that is not in the log is not asked, and a yes that is not there is none."""

    async def tell(world: World) -> None:
        world.policy.answers[entrypoint] = wanting()
        world.faults.put(point, AuditUnavailableError("gone"))
        await waiting(world, FORM)
        if "decided" in point:
            with pytest.raises(AuditUnavailableError):
                await decide(world)
        await world.settled()
        assert world.performer.performed == []

    story(tell, laws=False)


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_without_the_store_nobody_is_asked(entrypoint: str) -> None:
    """The mission ends with the store's code, and nothing was done."""

    async def tell(world: World) -> None:
        world.policy.answers[entrypoint] = wanting()

        async def gone(*_: Any) -> Any:
            raise StoreError("the disk is gone")

        world.store.create_approval = gone  # type: ignore[method-assign]
        mission_id = await waiting(world, FORM)
        await world.settled()
        view = await world.desk.get(ANN, mission_id)
        assert view.state is MissionState.FAILED
        error = view.result["error"] if entrypoint == "mission" else view.result["step_results"]["a"]["error"]
        assert error["code"] == "store.unavailable"
        assert world.performer.performed == []
        assert world.log.of("approval.requested") == []

    story(tell)


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_policy_that_cannot_answer_after_the_wait_says_no(entrypoint: str) -> None:
    """A person's yes is not policy's."""

    async def tell(world: World) -> None:
        world.policy.answers[entrypoint] = wanting()
        mission_id = await waiting(world, FORM)
        late = replace(wanting(), allow=False, require_approval=None)
        world.policy.answers[entrypoint] = late
        await decide(world)
        await world.settled()
        assert (await world.desk.get(ANN, mission_id)).state is MissionState.FAILED
        assert world.performer.performed == []

    story(tell)


@pytest.mark.parametrize("stop", ["cancel", "close"])
@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_who_is_stopped_while_waiting_leaves_nothing_behind(entrypoint: str, stop: str) -> None:
    """No waiter, no place, no key; a cancelled mission asks nobody, a suspended one still does."""

    async def tell(world: World) -> None:
        world.policy.answers[entrypoint] = wanting()
        mission_id = await waiting(world, {**FORM, "config": {"concurrency_key": "k"}})
        if stop == "cancel":
            await world.desk.cancel(ANN, mission_id, "")
            assert await pending(world) == []
        else:
            await world.desk.close(0)
            assert len(await pending(world)) == 1
        assert world.approvals._waiters == {}
        assert world.ground.slots.held == 0
        assert world.ground.keys._queues == {}
        assert world.performer.performed == []

    story(tell)


def test_a_mask_that_cannot_be_recorded_shows_nothing() -> None:
    """Where the log does not take it, the output is nobody's."""

    async def tell(world: World) -> None:
        world.policy.answers["step"] = replace(wanting(), require_approval=None, redact=("/output/ssn",))
        world.faults.put("audit.append:step.output_redacted", AuditUnavailableError("gone"))
        view = await world.run(mission(step("a", output={"ssn": 1})))
        assert view.result["step_results"]["a"]["output"] is None
        assert view.result["step_results"]["a"]["status"] == "Failed"

    story(tell)
