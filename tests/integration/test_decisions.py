"""Decisions of a real gateway: recorded, logged, found by what the audit log says of them, and replayed."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import orjson

from engine.clock import SystemClock
from gateway.client import CallError
from gateway.config import CONFIG_NAME, load_config
from gateway.decisions.keys import KEY_FILE
from gateway.decisions.records import Filter, Recorded, Records
from gateway.home import NewHome
from gateway.vault.master import write_key
from tests.cli_runner import run
from tests.collector import collecting
from tests.decision_records import eventually
from tests.gateways import (
    Program,
    calling,
    change_policy_data,
    events_of,
    new_home,
    serve_fails,
    serving,
    submitted,
    until,
)
from tests.subjects import commitments_in
from tests.worlds import mission

WRITE: dict[str, Any] = {
    "id": "write",
    "name": "write",
    "step_type": "create_file",
    "parameters": {"path": "out/x", "content": "v3ry private"},
}
CLOSED = {**WRITE, "id": "closed", "name": "closed", "parameters": {"path": "protected/x", "content": "v3ry private"}}


def configured(made: NewHome, text: str) -> None:
    with (made.home / CONFIG_NAME).open("a") as config:
        config.write(f"\n{text}\n")


def records_of(made: NewHome) -> dict[str, Recorded]:
    """Return every decision by id; all of them open."""
    source = load_config(made.home).secrets.source(made.home)
    with Records.open(made.home, source, SystemClock()) as records:
        found = list(records.read(Filter()))
    assert all(isinstance(each, Recorded) for each in found)
    return {each.id: each for each in found if isinstance(each, Recorded)}


async def two_missions(made: NewHome) -> None:
    """Run one that is allowed and one whose step is refused, and poll."""
    async with serving(made) as gateway:
        view = await submitted(gateway, made, mission(WRITE))
        assert view["result"]["overall_status"] == "Success"
        refused = await submitted(gateway, made, mission(CLOSED), "r2")
        assert refused["result"]["overall_status"] == "Failed"

        def poll() -> None:
            with calling(gateway.address, made) as client:
                for _ in range(20):
                    client.get(view["mission_id"])

        await asyncio.to_thread(poll)


async def test_an_auditor_finds_the_document_of_every_verdict(tmp_path: Path) -> None:
    """Each event that names a decision names one that is recorded: same bundle, same document, same answer."""
    made = new_home(tmp_path)
    configured(made, '[policy.decisions.log]\nfile = "decisions.ndjson"')
    await two_missions(made)
    records = records_of(made)
    seen: Counter[str] = Counter()
    for event in events_of(made):
        name = event.details.get("decision_id")
        if name is None:
            assert event.event_type not in {"step.allowed", "effect.allowed", "mission.admitted", "mission.refused"}
            continue
        record = records[str(name)]
        document = event.details.get("policy_document", event.details.get("document"))
        committed = commitments_in(made.home, event.target.partition("/")[0]).of(record.document)
        assert (committed, record.decision.bundle) == (document, event.details["bundle"])
        assert record.decision.allow is not event.event_type.endswith("refused")
        seen[record.entrypoint] += 1
    assert seen == {"mission": 2, "step": 2, "effect": 1}
    assert Counter(record.entrypoint for record in records.values())["rpc"] >= 22
    raw = (made.home / "decisions.ndjson").read_bytes()
    assert {orjson.loads(line)["decision_id"] for line in raw.splitlines()} == set(records)
    for kept in (raw, *(path.read_bytes() for path in made.home.glob("decisions.db*"))):
        assert b"v3ry private" not in kept


async def test_a_candidate_is_tried_on_what_was_decided(tmp_path: Path) -> None:
    """The home's own bundle changes nothing; one that closes the folder denies plan, step and effect."""
    made = new_home(tmp_path)
    await two_missions(made)
    same = await asyncio.to_thread(run, "policy", "replay", made.home / "policies", "--home", made.home)
    assert same.code == 0, same.out

    def close(config: dict[str, Any]) -> None:
        config["files"]["write"]["closed_prefixes"] = ["protected/", "out/"]

    change_policy_data(made, close)
    ran = await asyncio.to_thread(
        run, "policy", "replay", made.home / "policies", "--home", made.home, "-o", "json", "--since", "1h"
    )
    changes = ran.json["changes"]
    assert ran.code == 1
    assert {change["kind"] for change in changes} == {"denied"}
    assert {change["entrypoint"] for change in changes} >= {"step"}
    assert all(change["after"]["bundle"] == ran.json["candidate"] for change in changes)


async def test_a_collector_is_told_of_every_decision(tmp_path: Path) -> None:
    """Over the whole life of a gateway, under the mask of its bundle; what was not taken is taken after a restart."""
    made = new_home(tmp_path)

    def mask(config: dict[str, Any]) -> None:
        rule = {"op": "upsert", "path": "/input/principal/subject", "value": "**"}
        config["decision_log"] = {"mask": [rule, {"op": "remove", "path": "/input/parameters/*"}]}

    change_policy_data(made, mask)
    async with collecting() as collector:
        configured(made, f'[policy.decisions.log]\nurl = "{collector.url}"')
        await two_missions(made)
        records = records_of(made)
        async with serving(made):
            await eventually(lambda: set(records) <= set(collector.ids))
    step = next(event for event in collector.events if event["path"] == "gateway/step/decision")
    assert step["input"]["parameters"] == {}
    assert step["input"]["principal"]["subject"] == "**"
    assert (step["erased"], step["masked"]) == (["/input/parameters/*"], ["/input/principal/subject"])


def test_a_gateway_that_cannot_record_does_not_start(tmp_path: Path) -> None:
    """Records of another key, a passphrase that is not there, a mask that is none: told with a code."""
    made = new_home(tmp_path)
    asyncio.run(two_missions(made))
    key = made.home / KEY_FILE
    kept = key.rename(tmp_path / "kept")
    _, errors = serve_fails(made)
    assert [error["code"] for error in errors] == ["secret.key_unreadable"]
    assert "decisions.key" in errors[0]["message"]
    write_key(key, b"k" * 32)
    _, errors = serve_fails(made)
    assert [error["code"] for error in errors] == ["decisions.other_key"]
    kept.rename(key)

    def mask(config: dict[str, Any]) -> None:
        config["decision_log"] = {"mask": [{"op": "remove", "path": "/labels"}]}

    change_policy_data(made, mask)
    _, errors = serve_fails(made)
    assert [error["code"] for error in errors] == ["policy.decision_log"]
    assert "decision_log.mask[0].path" in errors[0]["message"]
    configured(made, '[secrets]\npassphrase_file = "none"')
    change_policy_data(made, lambda config: config.pop("decision_log"))
    _, errors = serve_fails(made)
    assert errors[0]["code"].startswith("secret.")


async def test_a_disk_that_is_full_denies_and_a_later_start_reads_what_there_was(tmp_path: Path) -> None:
    """A gateway of its own, which may write no more: calls are refused, and what was recorded opens."""
    made = new_home(tmp_path)
    program = await asyncio.to_thread(Program.start, made)
    refused: list[str] = []

    def poll() -> None:
        with calling(program.address, made) as client:
            try:
                client.list_missions()
            except CallError as error:
                refused.append(error.errors[0]["code"])

    try:
        await asyncio.to_thread(poll)
        assert refused == []
        await until(lambda: len(records_of(made)) >= 1)
        program.file_bytes_max(1)
        for _ in range(200):
            await asyncio.to_thread(poll)
            if refused:
                break
        # The refusal is an event itself, and the log's disk is the same: a call that is allowed needs no event.
        assert refused[0] in {"policy.unrecorded", "audit.unavailable"}
    finally:
        program.kill()
    assert len(records_of(made)) >= 1
    async with serving(made) as gateway:

        def again() -> None:
            with calling(gateway.address, made) as client:
                client.list_missions()

        await asyncio.to_thread(again)
