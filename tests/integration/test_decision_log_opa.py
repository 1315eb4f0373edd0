"""Our decision log beside a real OPA's: one collector for both, the same questions, the same fields."""

import asyncio
import os
import shutil
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from gateway.decisions.opening import DecisionRecords
from gateway.policy.bundle import Bundle
from gateway.policy.engine import Entrypoint, rule_of
from gateway.policy.regorus_engine import RegorusEngine
from tests import opa
from tests.collector import Collector, collecting
from tests.decision_records import Home, eventually
from tests.policy_documents import effect, mission, rpc, step

PROGRAM, WHY_NOT = opa.find()

if PROGRAM is None:
    if os.environ.get("CI") == "true":
        pytest.fail(WHY_NOT, pytrace=False)
    pytest.skip(WHY_NOT, allow_module_level=True)

POLICIES: Final = opa.ROOT / "policies"
QUESTIONS: Final[tuple[tuple[Entrypoint, bytes], ...]] = (
    ("rpc", rpc("gateway.v1.MissionService", "SubmitMission")),
    ("rpc", rpc("gateway.v1.MissionService", "SubmitMission", roles=("nobody",))),
    ("mission", mission(3)),
    ("step", step("create_file", {"path": "out/x", "content": "text", "password": "s3cret"})),
    ("step", step("create_file", {"path": "protected/x", "content": "\u2028\u0000"})),
    ("effect", effect("create_file", "file.write", {"path": "out/x", "content": "", "mode": "create"})),
)
MASK: Final = [
    {"op": "remove", "path": "/input/parameters/password"},
    {"op": "remove", "path": "/input/effect/args"},
    {"op": "remove", "path": "/input/no/such/thing"},
    {"op": "upsert", "path": "/input/principal/subject", "value": "**"},
    {"op": "upsert", "path": "/input/mission/name", "value": {"hidden": True}},
]
# What OPA says of its own server, or says only where it applies.
OPAS_OWN: Final = {"req_id"}
OPAS_METRIC: Final = "timer_rego_query_eval_ns"


def bundle(mask: list[dict[str, Any]]) -> Bundle:
    loaded = Bundle.load(POLICIES)
    data = orjson.loads(orjson.dumps(loaded.document))
    data["gateway"]["config"]["decision_log"] = {"mask": mask}
    return Bundle.build(manifest={"revision": "r7", "roots": ["gateway"]}, data=data, modules=list(loaded.modules))


async def ours(home: Home, mask: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events that this gateway tells of the questions."""

    async def ask(records: DecisionRecords, collector: Collector) -> None:
        loaded = bundle(mask)
        records.bundles.learn(loaded)
        policy = records.around(RegorusEngine(loaded))
        for entrypoint, document in QUESTIONS:
            await policy.decide(entrypoint, document)
        await eventually(lambda: len(collector.events) == len(QUESTIONS))

    async with collecting() as collector, home.open(log_url=collector.url) as records:
        await ask(records, collector)
    return collector.events


def bundle_folder(folder: Path, rules: str, manifest: dict[str, Any]) -> str:
    """Write a bundle of one module and return its path."""
    folder.mkdir()
    (folder / ".manifest").write_bytes(orjson.dumps(manifest))
    (folder / "rules.rego").write_text(rules)
    return str(folder)


async def opas(folder: Path, mask: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events that OPA tells of them."""
    assert PROGRAM is not None
    policies = folder / "policies"
    shutil.copytree(POLICIES, policies, ignore=shutil.ignore_patterns("*_test.rego", "schemas"))
    (policies / ".manifest").write_bytes(orjson.dumps({"revision": "r7", "roots": ["gateway"]}))
    rules = "\n".join(f"mask contains {orjson.dumps(rule).decode()}" for rule in mask)
    masking = bundle_folder(
        folder / "mask", f"package system.log\n\nimport rego.v1\n\n{rules}\n", {"revision": "m", "roots": ["system"]}
    )
    async with collecting() as collector, AsyncExitStack() as stack:
        config = {
            "services": {"c": {"url": collector.url}},
            "labels": {"app": "missiongate"},
            "decision_logs": {"service": "c", "reporting": {"min_delay_seconds": 1, "max_delay_seconds": 1}},
        }
        (folder / "config.json").write_bytes(orjson.dumps(config))
        arguments = ("--config-file", str(folder / "config.json"), "--bundle", str(policies), masking)
        running = opa.serving(PROGRAM, folder, *arguments)
        server = await asyncio.to_thread(running.__enter__)
        stack.push_async_callback(asyncio.to_thread, running.__exit__, None, None, None)
        for entrypoint, document in QUESTIONS:
            await asyncio.to_thread(server.ask, rule_of(entrypoint), orjson.loads(document))
        await eventually(lambda: len(decisions(collector)) == len(QUESTIONS))
        return decisions(collector)


def decisions(collector: Collector) -> list[dict[str, Any]]:
    """Return the events of our questions; the harness asks one of its own to see that OPA is up."""
    return [event for event in collector.events if event.get("path", "").startswith("gateway/")]


async def both(tmp_path: Path, mask: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return our event and OPA's of each question."""
    found = await ours(Home(tmp_path / "home"), mask)
    theirs = await opas(tmp_path, mask)
    return list(zip(found, theirs, strict=True))


def shape(value: Any) -> Any:
    """Return a value with types in place of its leaves."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__


def sorted_reasons(result: dict[str, Any]) -> dict[str, Any]:
    return {**result, "reasons": sorted(result["reasons"], key=orjson.dumps)}


async def test_our_events_have_the_fields_and_types_of_opas(tmp_path: Path) -> None:
    """Each of ours is one of OPA's, of the same type; OPA has none that we lack but what it says of its own server."""
    for mine, theirs in await both(tmp_path, []):
        known = {name: value for name, value in theirs.items() if name not in OPAS_OWN}
        metrics = {name: value for name, value in known.pop("metrics").items() if name == OPAS_METRIC}
        bundles = known.pop("bundles")
        said = dict(mine)
        assert shape(said.pop("metrics")) == shape(metrics)
        assert shape(said.pop("bundles")["missiongate"]) == shape(next(iter(bundles.values())))
        assert {each["revision"] for each in bundles.values()} == {"r7", "m"}
        assert said["requested_by"] == "red/ann"
        said.pop("requested_by")
        known.pop("requested_by", None)
        assert shape(said) == shape(known)
        assert (mine["path"], mine["input"]) == (theirs["path"], theirs["input"])
        assert sorted_reasons(mine["result"]) == sorted_reasons(theirs["result"])
        assert mine["labels"].keys() == theirs["labels"].keys() == {"app", "id", "version"}


async def test_masks_do_what_they_do_in_opa(tmp_path: Path) -> None:
    """The same rules leave the same input, and both say which of them have found something."""
    pairs = await both(tmp_path, MASK)
    assert [mine["input"] for mine, _ in pairs] == [theirs["input"] for _, theirs in pairs]
    for name in ("erased", "masked"):
        assert [sorted(mine.get(name, [])) for mine, _ in pairs] == [sorted(t.get(name, [])) for _, t in pairs]
        assert any(name in mine for mine, _ in pairs)
