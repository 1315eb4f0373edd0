"""PolicyService over gRPC, in a real gateway: bundles are published, tried, put in force, taken back and replayed."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.clock import SystemClock
from gateway.assembly import Gateway
from gateway.client import CallError
from gateway.config import CONFIG_NAME
from gateway.decisions.records import Filter, Recorded, Records
from gateway.home import NewHome
from gateway.policy.bundle_files import read_folder, write_archive
from gateway.vault.master import MasterSource
from tests import policy_documents
from tests.gateways import calling, change_data, change_policy_data, events_of, new_home, serving, submitted, verified
from tests.subjects import names_in
from tests.worlds import mission


def variant(made: NewHome, folder: Path, change: Callable[[dict[str, Any]], None], revision: str = "next") -> bytes:
    """Return the archive of the home's bundle with other data."""
    shutil.copytree(made.home / "policies", folder)
    change_data(folder, change)
    manifest = json.loads((folder / ".manifest").read_text())
    (folder / ".manifest").write_text(json.dumps({**manifest, "revision": revision}))
    return write_archive(read_folder(folder))


def closing(config: dict[str, Any]) -> None:
    """Close the folder that the missions of these tests write to."""
    config["files"]["write"]["closed_prefixes"] = ["out/"]


async def asking(gateway: Gateway, made: NewHome, ask: Callable[[Any], Any]) -> Any:
    """Call the service, away from the gateway's own loop."""

    def call() -> Any:
        with calling(gateway.address, made) as client:
            return ask(client.policy)

    return await asyncio.to_thread(call)


def writing(name: str) -> dict[str, Any]:
    step = {"id": "a", "name": "a", "step_type": "create_file", "parameters": {"path": "out/x", "content": "text"}}
    return {**mission(step), "name": name}


async def ended(gateway: Gateway, made: NewHome, name: str) -> str:
    """Run a mission that writes; return its status, or the code of what was refused."""
    view = await submitted(gateway, made, writing(name), request_id=name)
    error = view["result"]["step_results"]["a"].get("error")
    return str(error["code"] if error else view["result"]["overall_status"])


async def test_a_bundle_is_published_put_in_force_and_taken_back(tmp_path: Path) -> None:
    """What is published decides nothing; what is in force does at once; each act is in the log with who did it."""
    made = new_home(tmp_path)
    archive = variant(made, tmp_path / "next", closing)
    async with serving(made) as gateway:
        first = gateway.bundle.digest
        published = await asking(gateway, made, lambda policy: policy.publish(archive))
        again = await asking(gateway, made, lambda policy: policy.publish(archive))
        assert (published.created, again.created) == (True, False)
        assert await ended(gateway, made, "before") == "Success"
        active = await asking(gateway, made, lambda policy: policy.activate("next"))
        assert (active.digest, active.active) == (published.bundle.digest, True)
        assert names_in(made.home)[active.by] == "default/admin"
        assert await ended(gateway, made, "closed") == "step.path_closed"
        status = await asking(gateway, made, lambda policy: policy.status())
        assert (status.pinned, status.mode, status.engine) == (True, "enforce", "regorus")
        back = await asking(gateway, made, lambda policy: policy.rollback(published.bundle.digest))
        assert back.digest == first
        assert await ended(gateway, made, "after") == "Success"
        kept = await asking(gateway, made, lambda policy: policy.bundles())
        assert [(each.digest, each.active) for each in kept] == [
            (published.bundle.digest, False),
            (first, True),
        ]
    verified(made)
    who = {**names_in(made.home), "gateway": "gateway"}
    acts = [(e.event_type, who[e.actor]) for e in events_of(made) if e.event_type.startswith("policy.")]
    assert acts == [
        ("policy.bundle_published", "gateway"),
        ("policy.bundle_activated", "gateway"),
        ("policy.bundle_published", "default/admin"),
        ("policy.bundle_asked", "default/admin"),
        ("policy.bundle_activated", "default/admin"),
        ("policy.bundle_asked", "default/admin"),
        ("policy.bundle_activated", "default/admin"),
    ]


async def test_what_a_person_has_chosen_outlives_a_restart_until_the_source_is_followed(tmp_path: Path) -> None:
    """The folder is not looked at meanwhile."""
    made = new_home(tmp_path)
    archive = variant(made, tmp_path / "next", closing)
    async with serving(made) as gateway:
        first = gateway.bundle.digest
        chosen = (await asking(gateway, made, lambda policy: policy.publish(archive))).bundle.digest
        await asking(gateway, made, lambda policy: policy.activate(chosen[:16]))
    async with serving(made) as gateway:
        assert gateway.bundle.digest == chosen
        assert await ended(gateway, made, "closed") == "step.path_closed"
        followed = await asking(gateway, made, lambda policy: policy.follow_source())
        assert followed.digest == gateway.bundle.digest == first
        assert (await asking(gateway, made, lambda policy: policy.status())).pinned is False


async def test_a_bundle_is_tried_before_it_is_in_force(tmp_path: Path) -> None:
    """One document, two bundles; the explanation names what stands in the way."""
    made = new_home(tmp_path)
    archive = variant(made, tmp_path / "next", closing)
    document = policy_documents.step("create_file", {"path": "out/x", "content": ""}, profile="semantic")
    async with serving(made) as gateway:
        await asking(gateway, made, lambda policy: policy.publish(archive))
        now = await asking(gateway, made, lambda policy: policy.evaluate("step", document))
        then = await asking(
            gateway, made, lambda policy: policy.evaluate("step", document, bundle="next", explain=True)
        )
    assert (now.decision["allow"], now.explanation) == (True, None)
    assert then.decision["allow"] is False
    assert [reason["code"] for reason in then.decision["reasons"]] == ["step.path_closed"]
    assert [reason["code"] for reason in then.explanation["reasons"]] == ["step.path_closed"]
    assert then.explanation["would_be_allowed"]


async def test_recorded_decisions_are_decided_again(tmp_path: Path) -> None:
    """Each that would change is told, with what it was about; and that somebody has asked is in the log."""
    made = new_home(tmp_path)
    archive = variant(made, tmp_path / "next", closing)
    async with serving(made) as gateway:
        assert await ended(gateway, made, "written") == "Success"
        await asking(gateway, made, lambda policy: policy.publish(archive))
        await asyncio.sleep(0.1)  # the records are written some hundredths of a second later
        told = await asking(gateway, made, lambda policy: list(policy.replay("next")))
        same = await asking(gateway, made, lambda policy: list(policy.replay(gateway.bundle.digest)))
    changes = told[:-1]
    assert {(each.kind, each.entrypoint) for each in changes} == {("denied", "step"), ("denied", "effect")}
    assert all("written" in each.what and each.before["allow"] for each in changes)
    assert told[-1].counts["denied"] == len(changes) == 2
    assert [*same[:-1]] == []
    assert same[-1].same == same[-1].asked >= 4
    assert [e.target for e in events_of(made) if e.event_type == "audit.read"] == [
        "gateway.v1.PolicyService/ReplayDecisions"
    ] * 2


BAD: list[tuple[Callable[[Any], Any], str]] = [
    (lambda policy: policy.publish(b"no archive"), "policy."),
    (lambda policy: policy.activate("sha256:" + "0" * 64), "policy.bundle_not_found"),
    (lambda policy: policy.activate(""), "request.out_of_range"),
    (lambda policy: policy.activate("a\nb"), "request.out_of_range"),
    (lambda policy: policy.rollback(), "policy.nothing_before"),
    (lambda policy: policy.rollback("sha256:" + "0" * 64), "policy.changed"),
    (lambda policy: policy.evaluate("nothing", b"{}"), "request.out_of_range"),
    (lambda policy: policy.evaluate("step", b"{}", bundle="no such"), "policy.bundle_not_found"),
    (lambda policy: list(policy.replay("no such")), "policy.bundle_not_found"),
    (lambda policy: list(policy.replay("default-1", entrypoint="x")), "request.out_of_range"),
]


async def test_bad_requests_get_a_code_and_change_nothing(tmp_path: Path) -> None:
    """Each names its rule; the bundle in force stays, and so does the gateway that was asked all of them."""
    made = new_home(tmp_path)
    async with serving(made) as gateway:
        before = gateway.bundle.digest
        codes = []
        for ask, _ in BAD:
            with pytest.raises(CallError) as refused:
                await asking(gateway, made, ask)
            codes.append(refused.value.code)
            assert gateway.bundle.digest == before
    assert len(codes) == len(BAD)
    assert [each for each, (_, code) in zip(codes, BAD, strict=True) if not each.startswith(code)] == []


async def test_garbage_is_evaluated_to_a_no(tmp_path: Path) -> None:
    """Whatever the document is, the answer is a decision."""
    made = new_home(tmp_path)
    async with serving(made) as gateway:
        for document in (b"", b"{", b"\xff", b'{"a":1e999}', b"[" * 300):
            answer = await asking(gateway, made, lambda policy, d=document: policy.evaluate("step", d))  # type: ignore[misc]
            assert answer.decision["allow"] is False


async def test_a_dry_run_lets_through_what_rules_refuse_and_says_so(tmp_path: Path) -> None:
    """The event has the reasons and the mark; who may call is enforced all the same; a replay has what policy said."""
    made = new_home(tmp_path)
    change_policy_data(made, closing)
    config = made.home / CONFIG_NAME
    config.write_text(config.read_text().replace('source = "policies"', 'source = "policies"\nmode = "dry_run"'))
    async with serving(made) as gateway:
        assert await ended(gateway, made, "through") == "Success"
        assert (await asking(gateway, made, lambda policy: policy.status())).mode == "dry_run"
    marked = [e for e in events_of(made) if e.details.get("would_deny")]
    assert {e.event_type for e in marked} == {"step.allowed", "effect.allowed"}
    assert {reason["code"] for e in marked for reason in e.details["reasons"]} == {
        "step.path_closed",
        "effect.path_closed",
    }
    with Records.open(made.home, MasterSource(made.home), SystemClock()) as records:
        denied = [each for each in records.read(Filter(denied_only=True)) if isinstance(each, Recorded)]
    assert {each.id for each in denied} == {e.details["decision_id"] for e in marked}, "what policy said is recorded"


async def test_a_shadow_is_asked_and_decides_nothing(tmp_path: Path) -> None:
    """Its disagreements are counted, shown, and the first of each kind is in the log."""
    made = new_home(tmp_path)
    variant(made, made.home / "shadow", closing)
    config = made.home / CONFIG_NAME
    config.write_text(config.read_text().replace('source = "policies"', 'source = "policies"\nshadow = "shadow"'))
    async with serving(made) as gateway:
        for name in ("one", "two"):
            assert await ended(gateway, made, name) == "Success"
        for _ in range(100):
            status = await asking(gateway, made, lambda policy: policy.status())
            if status.shadow.disagreed >= 4:
                break
            await asyncio.sleep(0.05)
    shadow = status.shadow
    assert (shadow.disagreed, shadow.missed) == (4, 0)
    assert shadow.compared > 4
    assert {each.entrypoint for each in shadow.latest} == {"step", "effect"}
    told = [e for e in events_of(made) if e.event_type == "policy.shadow_disagreed"]
    assert sorted(e.details["entrypoint"] for e in told) == ["effect", "step"]
    assert orjson.dumps(told[0].details)  # plain JSON
