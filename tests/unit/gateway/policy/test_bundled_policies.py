import re
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
import regorus

from gateway.policy.bundle import Bundle
from gateway.policy.decision import Decision
from gateway.policy.engine import Entrypoint
from gateway.policy.regorus_engine import RegorusEngine
from tests.policy_documents import effect, mission, rpc, step

POLICIES = Path(__file__).parents[4] / "policies"
TEST_FILES = sorted(POLICIES.rglob("*_test.rego"))
TESTS = [
    (path.relative_to(POLICIES).as_posix(), f"data.{package}.{name}")
    for path in TEST_FILES
    for package in re.findall(r"^package (\S+)$", path.read_text(), re.MULTILINE)
    for name in re.findall(r"^(test_\w+)", path.read_text(), re.MULTILINE)
]


@pytest.fixture(scope="module")
def engine(bundled: Bundle) -> RegorusEngine:
    return RegorusEngine(bundled)


@pytest.fixture(scope="module")
def testbench() -> regorus.Engine:
    bench = regorus.Engine()
    for path in sorted(POLICIES.rglob("*.rego")):
        bench.add_policy(str(path), path.read_text())
    bench.add_data_json((POLICIES / "data.json").read_text())
    return bench


@pytest.mark.parametrize(("file", "rule"), TESTS)
def test_every_rego_test_passes(testbench: regorus.Engine, file: str, rule: str) -> None:
    """Each `test_` rule beside the policies holds on regorus; the integration test runs the same ones on OPA."""
    assert testbench.clone().eval_rule_as_json(rule) == "true", file


def test_every_policy_has_its_tests() -> None:
    """No package without a _test.rego beside it, of the library or of an entrypoint."""
    packages = {path.with_suffix("") for path in POLICIES.rglob("*.rego")} - {
        path.with_suffix("") for path in TEST_FILES
    }
    assert {path.with_name(f"{path.name}_test.rego") for path in packages} == set(TEST_FILES)
    assert {path.parent.name for path in packages} == {"rpc", "mission", "step", "effect", "lib"}


async def test_a_denied_write_says_what_to_do(engine: RegorusEngine) -> None:
    """A newcomer reads which field, which rule and which datum closed the path."""
    decision = await engine.decide("step", step("create_file", {"path": "protected/x", "content": ""}))
    assert decision.allow is False
    assert [(r.code, r.rule) for r in decision.reasons] == [("step.path_closed", "data.gateway.step.deny")]
    assert decision.reasons[0].message == (
        'parameters.path: "protected/x" lies under "protected/", '
        "which files.write.closed_prefixes in data.gateway.config closes"
    )


async def test_no_host_is_open_unless_data_names_it(engine: RegorusEngine) -> None:
    """The default bundle lets nothing out, and the reason names the host and the datum."""
    args = {"method": "GET", "url": "http://example.com/", "host": "example.com", "port": 80}
    decision = await engine.decide("effect", effect("http", "http.request", args))
    assert [r.code for r in decision.reasons] == ["effect.host_closed"]
    assert '"example.com"' in decision.reasons[0].message


@pytest.mark.parametrize("entrypoint", ["rpc", "mission", "step", "effect"])
@pytest.mark.parametrize("document", [b"{}", b"null", b"[]", b'{"version":2}'])
async def test_documents_without_their_fields_are_denied(
    engine: RegorusEngine, entrypoint: Entrypoint, document: bytes
) -> None:
    """The policies ask for what has to hold, so a document that says nothing gets a no with a reason or none."""
    assert (await engine.decide(entrypoint, document)).allow is False


PATHS = [
    ("rpc", orjson.loads(rpc("gateway.v1.MissionService", "SubmitMission"))),
    ("mission", orjson.loads(mission(3))),
    ("step", orjson.loads(step("create_file", {"path": "out/x", "content": ""}))),
    ("effect", orjson.loads(effect("create_file", "file.write", {"path": "out/x", "content": "", "mode": "create"}))),
]


@pytest.mark.parametrize(("entrypoint", "document"), PATHS, ids=[name for name, _ in PATHS])
async def test_no_missing_field_opens_anything(engine: RegorusEngine, entrypoint: Entrypoint, document: Any) -> None:
    """A document that is allowed is denied when it lacks any one of the fields that the rules depend on."""
    assert (await engine.decide(entrypoint, orjson.dumps(document))).allow is True
    kept = {path for path in _paths(document) if await _allows(engine, entrypoint, _without(document, path))}
    needed = {
        "rpc": {("principal",), ("principal", "roles"), ("principal", "anonymous"), ("rpc",), ("rpc", "method")},
        "mission": {
            ("principal",),
            ("mission",),
            ("mission", "config"),
            ("mission", "config", "parallel_limit"),
            ("mission", "runs"),
        },
        "step": {
            ("principal",),
            ("step",),
            ("step", "step_type"),
            ("step", "profile"),
            ("parameters", "path"),
            ("taint",),
        },
        "effect": {
            ("step",),
            ("step", "step_type"),
            ("effect",),
            ("effect", "op"),
            ("effect", "args", "path"),
            ("taint",),
        },
    }[entrypoint]
    assert not kept & needed


@pytest.mark.parametrize("field", ["step_type", "profile", "taint"])
async def test_no_step_hides_behind_a_missing_field(engine: RegorusEngine, field: str) -> None:
    """A mission in which one step of many does not say what it is, is denied."""
    document = orjson.loads(mission(30))
    del document["mission"]["steps"][17][field]
    assert not await _allows(engine, "mission", document)


def _paths(value: Any, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return []
    return [path for key in value for path in [(*prefix, key), *_paths(value[key], (*prefix, key))]]


def _without(value: Any, path: tuple[str, ...]) -> Any:
    return {
        key: item if key != path[0] else _without(item, path[1:])
        for key, item in value.items()
        if not (key == path[0] and len(path) == 1)
    }


async def _allows(engine: RegorusEngine, entrypoint: Entrypoint, document: Any) -> bool:
    decision: Decision = await engine.decide(entrypoint, orjson.dumps(document))
    return decision.allow


async def test_the_mission_policy_is_linear(engine: RegorusEngine) -> None:
    """Ten times the steps take about ten times as long: nothing in it compares steps with steps."""
    seconds = {}
    for steps in (1_000, 10_000):
        document = mission(steps)
        best = float("inf")
        for _ in range(3):
            start = time.thread_time()
            decision = await engine.decide("mission", document)
            best = min(best, time.thread_time() - start)
            assert decision.allow is True
        seconds[steps] = best
    assert seconds[10_000] < 30 * seconds[1_000]
    assert seconds[10_000] < 2.0


async def test_a_mission_of_many_denied_steps_has_few_reasons(engine: RegorusEngine) -> None:
    """Reasons speak of kinds, not of each step, so that the answer stays within its bounds."""
    decision = await engine.decide("mission", mission(10_000, roles=("viewer",)))
    assert decision.allow is False
    assert 0 < len(decision.reasons) < 10
    assert "mission.kind_not_granted" in {r.code for r in decision.reasons}
