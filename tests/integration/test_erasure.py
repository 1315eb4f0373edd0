"""A mission erased in a real gateway: nothing of it is left in any file of the home, and the log still verifies."""

import asyncio
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from gateway.config import CONFIG_NAME
from gateway.decisions.database import DATABASE_FILE
from gateway.folders import STORE_FILE
from gateway.home import NewHome
from gateway.store.master_keys import KEY_FILE
from tests.cli_runner import run
from tests.gateways import calling, events_of, new_home, serving, submitted, verified
from tests.opened_homes import opened_payloads
from tests.replays import replayed, verdicts
from tests.worlds import mission, step

CANARY = "canary-3b91"
OUTSIDE = ("policies", "keys")  # what no mission writes


def form(canary: str) -> dict[str, Any]:
    """Return a mission whose name, variables, files, journal, outputs and errors say the word."""
    write = step("write", kind="create_file", path="kept.txt", content=canary)
    read = step("read", "write", kind="read_file", path="kept.txt")
    fails = step("fails", "read", kind="read_file", path=f"no-{canary}.txt")
    return {**mission(write, read, fails, variables={"word": canary}), "name": canary}


def found_in(home: Path, word: str) -> list[str]:
    """Return the files that have a word, in name or content."""
    files = [p for p in home.rglob("*") if p.is_file() and p.relative_to(home).parts[0] not in OUTSIDE]
    return [str(p.relative_to(home)) for p in files if word.encode() in p.read_bytes() or word in p.name]


def payloads_with(made: NewHome, word: str) -> list[str]:
    return [where for where, content in opened_payloads(made.home) if word.encode() in content]


def decided_about(made: NewHome, mission_id: str, decision_id: str = "") -> set[str]:
    """Return what was decided about a mission: entrypoints, those of calls about it left out, which come later too."""
    with closing(sqlite3.connect(made.home / DATABASE_FILE)) as connection:
        sql = "SELECT entrypoint FROM decisions WHERE (mission_id = ? OR id = ?) AND entrypoint <> 'rpc'"
        return {entrypoint for (entrypoint,) in connection.execute(sql, (mission_id, decision_id))}


async def test_of_an_erased_mission_nothing_is_left(tmp_path: Path) -> None:
    """Asked for with the command, while the gateway serves; another mission of the same words is untouched."""
    made = new_home(tmp_path)
    async with serving(made) as gateway:
        gone = await submitted(gateway, made, form(CANARY), "gone")
        kept = await submitted(gateway, made, form("kept-word"), "kept")
        mission_id = gone["mission_id"]
        assert gone["result"]["steps_failed"] == 1
        assert [f for f in found_in(made.home, CANARY) if not f.startswith("workspaces/")] == []
        assert found_in(made.home / "workspaces", CANARY) == [f"{mission_id}/kept.txt"]
        assert len(payloads_with(made, CANARY)) >= 6
        env = {"MISSIONGATE_SERVER": gateway.address, "MISSIONGATE_TOKEN": made.token}
        shown = await asyncio.to_thread(run, "erase", "mission", mission_id, "--yes", "-o", "json", env=env)
        assert shown.code == 0, shown.err
        assert (shown.json["missions"], shown.json["decisions"] > 3) == (1, True)
        assert found_in(made.home, CANARY) == payloads_with(made, CANARY) == []
        with calling(gateway.address, made) as client:
            view = await asyncio.to_thread(client.get, mission_id)
            other = await asyncio.to_thread(client.get, kept["mission_id"])
        assert (view.erased_at is not None, view.name, view.result.steps_failed) == (True, "", 1)
        assert other.document()["result"] == kept["result"]
        assert not (made.home / "workspaces" / mission_id).exists()
    told = events_of(made)  # which verifies the log
    assert verified(made).ok
    [admitted] = [e for e in told if e.event_type == "mission.admitted" and e.target == mission_id]
    assert decided_about(made, mission_id, admitted.details["decision_id"]) == set()
    [admitted] = [e for e in told if e.event_type == "mission.admitted" and e.target == kept["mission_id"]]
    assert decided_about(made, kept["mission_id"], admitted.details["decision_id"]) == {"mission", "step", "effect"}
    order = [e.event_type for e in told if e.target == mission_id][-2:]
    assert order == ["mission.erased", "mission.erasure_ended"]
    code, said = await asyncio.to_thread(replayed, made.home, mission_id)
    assert (code, verdicts(said)) == (0, {"": "erased"})


async def test_keys_are_rotated_between_two_starts(tmp_path: Path) -> None:
    """By the command, which a running gateway refuses; a copy from before is shut then."""
    made = new_home(tmp_path)
    async with serving(made) as gateway:
        view = await submitted(gateway, made, form(CANARY))
        refused = await asyncio.to_thread(run, "keys", "rotate-payloads", "--home", made.home)
        assert refused.code != 0
        assert "store.locked" in refused.out + refused.err
    copy = Path(shutil.copytree(made.home, tmp_path / "copy"))
    old = (copy / KEY_FILE).read_bytes()
    rotated = await asyncio.to_thread(run, "keys", "rotate-payloads", "--home", made.home, "-o", "json")
    assert rotated.json == {"rotated": 2}
    assert (made.home / KEY_FILE).read_bytes() != old
    async with serving(made) as gateway:
        with calling(gateway.address, made) as client:
            assert (await asyncio.to_thread(client.get, view["mission_id"])).document() == view
    shutil.copy(made.home / KEY_FILE, copy / KEY_FILE)
    said = await asyncio.to_thread(run, "audit", "replay", view["mission_id"], "--home", copy)
    assert "store.other_key" in said.out + said.err


def test_without_its_key_the_gateway_does_not_start(tmp_path: Path) -> None:
    """A key that is gone is not replaced in silence, once something was sealed by it."""
    made = new_home(tmp_path)

    async def served() -> None:
        async with serving(made):
            pass

    asyncio.run(served())
    (made.home / KEY_FILE).rename(tmp_path / "put-away")
    said = run("serve", "--home", made.home, "-o", "json")
    assert said.code != 0
    assert "secret.key_unreadable" in said.out + said.err
    assert not (made.home / KEY_FILE).exists()
    assert (made.home / STORE_FILE).exists()
    assert os.access(made.home / CONFIG_NAME, os.R_OK)
