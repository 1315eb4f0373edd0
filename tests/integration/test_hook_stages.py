"""Screens, rewrites and observers in a real gateway: real modules, in workers of their own, under a real log."""

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.client import CallError
from gateway.config import CONFIG_NAME
from gateway.errors import HookRefusedError
from gateway.home import NewHome
from tests.cli_runner import run as run_command
from tests.gateways import Program, calling, change_policy_data, events_of, new_home, serving, submitted
from tests.subjects import commitments_in
from tests.worlds import laws_hold, mission, step

PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n-----END PRIVATE KEY-----\n"


def with_hooks(folder: Path, *entries: str) -> NewHome:
    """Make a home with these entries of hooks."""
    made = new_home(folder)
    with (made.home / CONFIG_NAME).open("a") as config:
        for entry in entries:
            config.write(f"\n[[hooks]]\n{entry}\n")
    return made


def transform(step_id: str, value: Any, *depends_on: str) -> dict[str, Any]:
    return step(step_id, *depends_on, kind="transform", input=value)


def refused(made: NewHome, address: str, form: Any) -> CallError:
    with calling(address, made) as client, pytest.raises(CallError) as caught:
        client.submit(orjson.dumps(form), "refused")
    return caught.value


async def test_hooks_of_every_place_do_their_work(tmp_path: Path) -> None:
    """Each as its settings say, recorded with its module; the log verifies, and its laws hold."""
    made = with_hooks(
        tmp_path,
        'builtin = "mission_limits"\nsettings = {steps_max = 2}',
        'builtin = "no_private_key_material"\nstep_types = ["transform"]',
        'builtin = "drop_output_fields"\nsettings = {fields = ["token"]}',
        'builtin = "large_output"\nsettings = {bytes_max = 20}',
    )
    async with serving(made) as gateway:
        form = mission(transform("a", {"token": "t", "n": 1}), transform("b", "${steps.a.output}", "a"))
        view = await submitted(gateway, made, form)
        outputs = {name: result["output"] for name, result in view["result"]["step_results"].items()}
        assert outputs == {"a": {"n": 1}, "b": {"n": 1}}

        error = await asyncio.to_thread(refused, made, gateway.address, mission(*(transform(x, 1) for x in "xyz")))
        assert "more steps than the site allows" in str(error)
        view = await submitted(gateway, made, mission(transform("k", PEM)), "key")
        assert view["result"]["step_results"]["k"]["error"]["code"] == "screen.no_private_key_material.found"
        view = await submitted(gateway, made, mission(transform("l", "x" * 40)), "large")
        assert view["result"]["overall_status"] == "Success"
    events = events_of(made)
    laws_hold(events)
    pins = next(e.details["hooks"] for e in events if e.event_type == "gateway.started")
    [refusal] = [e for e in events if e.event_type == "mission.refused"]
    assert refusal.details["screens"][0] == {
        "hook": "mission_limits@1.0.0",
        "module": pins["mission_limits"],
        "verdict": "deny",
    }
    rewritten = [e for e in events if e.event_type == "step.output_rewritten"]
    committed = commitments_in(made.home, rewritten[0].target.partition("/")[0])
    assert rewritten[0].details["rewrites"][0]["module"] == pins["drop_output_fields"]
    assert rewritten[0].details["rewrites"][0]["after"] == committed.of({"n": 1})
    [told] = [e for e in events if e.event_type == "hook.failed_open"]
    assert (told.target, told.details["code"]) == ("large_output@1.0.0", "observe.large_output.over_limit")
    assert [e.event_type for e in events][-1] == "gateway.stopped"


async def test_a_screen_over_its_limit_is_closed_or_open_as_policy_data_says(tmp_path: Path) -> None:
    """With fuel for nothing: under a closed profile no step runs, under an open one all do, and the log says how."""
    made = with_hooks(tmp_path, 'builtin = "no_private_key_material"\nprofile = "tiny"')

    def tiny(on_violation: str) -> Any:
        profile = {"wall_ms": 10, "memory_bytes": 65_536, "cpu_shares": 1, "on_violation": on_violation}
        return lambda config: config["profiles"].__setitem__("tiny", profile)

    ends = []
    for request_id, on_violation in (("a", "closed"), ("b", "open")):
        change_policy_data(made, tiny(on_violation))
        async with serving(made) as gateway:
            view = await submitted(gateway, made, mission(transform("a", "x" * 60_000)), request_id)
            ends.append(view["result"]["step_results"]["a"])
    assert ends[0]["error"]["code"] == "constraint.memory_exceeded"
    assert ends[1]["status"] == "Completed"
    events = events_of(made)
    [allowed] = [e for e in events if e.event_type == "step.allowed"]
    assert allowed.details["screens"][0]["fault"] == "constraint.memory_exceeded"
    assert [e.target for e in events if e.event_type == "hook.failed_open"] == ["no_private_key_material@1.0.0"]


def test_a_killed_gateway_keeps_rewritten_outputs(tmp_path: Path) -> None:
    """What is on the disk is what was rewritten: the next start goes on with it, and screens the mission again."""
    made = with_hooks(
        tmp_path, 'builtin = "drop_output_fields"\nsettings = {fields = ["token"]}', 'builtin = "mission_limits"'
    )
    form = mission(
        transform("a", {"token": "t", "n": 1}),
        step("wait", "a", kind="delay", ms=1_500),
        transform("b", "${steps.a.output}", "wait", "a"),
    )
    program = Program.start(made)
    with calling(program.address, made) as client:
        mission_id = client.submit(orjson.dumps(form), "r").mission_id
        for event in client.watch(mission_id):
            if event.kind == "step.completed":
                break
        time.sleep(0.5)  # the store hears of a result a moment late
    program.kill()
    program = Program.start(made)
    with calling(program.address, made) as client:
        for _ in client.watch(mission_id):
            pass
        results = client.get(mission_id).document()["result"]["step_results"]
    assert program.terminate() == 0
    assert results["a"]["output"] == results["b"]["output"] == {"n": 1}
    events = events_of(made)
    laws_hold(events, killed=True)
    [resumed] = [e for e in events if e.event_type == "mission.resumed"]
    assert resumed.details["screens"][0]["verdict"] == "allow"


def test_a_plan_without_a_gateway_says_which_screens_it_did_not_ask(tmp_path: Path) -> None:
    """Foreign modules run in workers only; so the answer is Rego's, and says so."""
    made = with_hooks(tmp_path, 'builtin = "mission_limits"\nsettings = {steps_max = 0}')
    (tmp_path / "m.json").write_bytes(orjson.dumps(mission(transform("a", 1))))
    done = run_command("plan", tmp_path / "m.json", "--home", made.home, "-o", "json")
    assert done.json["screens_not_asked"] == ["mission_limits@1.0.0"]
    done = run_command("plan", tmp_path / "m.json", "--home", made.home)
    assert "not asked here: mission_limits@1.0.0" in done.out


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ('builtin = "nothing"', "hook.unknown_builtin"),
        ('builtin = "mission_limits"\nstep_types = ["htpt"]', "hook.unknown_step_type"),
        ('builtin = "mission_limits"\nprofile = "nowhere"', "hook.unknown_profile"),
    ],
)
async def test_an_entry_that_cannot_be_followed_stops_the_start(tmp_path: Path, entry: str, code: str) -> None:
    """A gateway does not serve without a screen that its operator believes in."""
    made = with_hooks(tmp_path, entry)
    with pytest.raises(HookRefusedError) as caught:
        async with serving(made):
            pass
    assert caught.value.code == code
