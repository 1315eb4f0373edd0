"""The differential test: every decision of the bundled policies, and every claim of vetting, beside a real OPA."""

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import regorus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.policy.answer import Status
from gateway.policy.bundle import Bundle
from gateway.policy.document import time_document
from gateway.policy.engine import Entrypoint, rule_of
from gateway.policy.evaluator import Evaluator
from gateway.policy.supplied import Spelling, install, named
from gateway.policy_data.sections import check_policy_data
from tests import opa
from tests.depth import times
from tests.opa import Opa
from tests.policy_documents import effect, mission, rpc, step
from tests.rego_cases import ACCEPTED, DIFFERENT, SUPPLIED, Case

POLICIES = opa.ROOT / "policies"
PROGRAM, WHY_NOT = opa.find()

if PROGRAM is None:
    if os.environ.get("CI") == "true":
        pytest.fail(WHY_NOT, pytrace=False)
    pytest.skip(WHY_NOT, allow_module_level=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opa]:
    assert PROGRAM is not None
    with opa.serving(PROGRAM, tmp_path_factory.mktemp("opa"), "--bundle", str(POLICIES)) as running:
        yield running


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    loaded = Bundle.load(POLICIES)
    return Evaluator(loaded.sources, loaded.document)


RESTRICTIONS: dict[str, Any] = {
    "http": {"methods": ["GET"], "hosts": {name: {"ports": [80], "methods": ["GET"]} for name in ("a", "b.a")}},
    "windows": {
        "office": {"weekdays": ["monday", "thursday"], "from": "08:00", "to": "18:00"},
        "night": {"weekdays": ["friday"], "from": "22:00", "to": "06:00"},
        "freeze": {"starts": "2026-12-01T00:00:00Z", "ends": "2027-01-01T00:00:00Z"},
    },
    "closings": [
        {"name": "one", "at": ["rpc", "mission", "step", "effect"], "open_in": ["office", "night"], "roles": ["admin"]}
        | {"message": "m"},
        {"name": "two", "at": ["mission", "step", "effect"], "closed_in": ["freeze"], "kinds": ["http", "transform"]}
        | {"message": "m"},
        {"name": "three", "at": ["effect"], "closed_in": ["night"], "effects": ["file.write"], "labels": {"a": "a"}}
        | {"message": "m"},
        {"name": "four", "at": ["rpc"], "closed_in": ["office"], "subjects": ["ann"], "message": "m"},
    ],
    "capabilities": {
        "required": ["file.write", "http.request"],
        "grants": [
            {"name": "a", "tenants": ["red"], "write": ["out", "a"]},
            {"name": "b", "roles": ["admin", "submitter"], "hosts": ["a", "*.a"], "ports": [80]},
            {"name": "c", "subjects": ["a"], "kinds": ["create_file"], "labels": {"a": "a"}, "write": [""]},
        ],
    },
    "missions": {"limits": {"default": {"runs_max": 9_999}, "tenants": {"red": {"steps_max": 2}}}},
    "approvals": {
        "separation": {
            "excluded_roles": ["auditor"],
            "exclusive_roles": ["operator", "viewer"],
            "distinct_approvers": True,
        }
    },
    "taint": {"effects": {"file.write": ["network"]}},
}
"""Something of every section that closes, in reach of the documents that are generated below."""


@pytest.fixture(scope="module")
def restricted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Opa, Evaluator]]:
    """Both engines on the default bundle with `RESTRICTIONS` in its data."""
    assert PROGRAM is not None
    folder = tmp_path_factory.mktemp("restricted")
    shutil.copytree(POLICIES, folder / "policies")
    path = folder / "policies" / "data.json"
    data = json.loads(path.read_text())
    data["gateway"]["config"] |= RESTRICTIONS
    path.write_text(json.dumps(data))
    loaded = Bundle.load(folder / "policies")
    check_policy_data(loaded.data)
    with opa.serving(PROGRAM, folder, "--bundle", str(folder / "policies")) as running:
        yield running, Evaluator(loaded.sources, loaded.document)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert PROGRAM is not None
    return subprocess.run([PROGRAM, *arguments], capture_output=True, check=False, text=True, cwd=opa.ROOT)


def test_opa_accepts_the_bundle_and_its_schemas() -> None:
    """`opa check --strict --schema` finds nothing: every input field that a rule names is in the published schema."""
    found = command("check", "--strict", "--schema", "policies/schemas", "--bundle", "policies")
    assert (found.returncode, found.stderr) == (0, "")


def test_opa_would_find_a_field_that_is_not_in_the_schema(tmp_path: Path) -> None:
    """The check above is no empty one: a misspelled field is an error."""
    text = (POLICIES / "gateway" / "step" / "step.rego").read_text()
    (tmp_path / "step.rego").write_text(text.replace("input.step.step_type", "input.step.step_typo"))
    found = command("check", "--schema", "policies/schemas", str(tmp_path), "policies/gateway/lib")
    assert found.returncode != 0
    assert "undefined ref: input.step.step_typo" in found.stderr


def test_the_rego_is_formatted() -> None:
    """`opa fmt` would change nothing."""
    found = command("fmt", "--list", "policies")
    assert (found.returncode, found.stdout) == (0, "")


def test_opa_passes_the_policies_own_tests() -> None:
    """The same `test_` rules that regorus runs hold on OPA."""
    found = command("test", "--format", "json", "--bundle", "policies")
    results = json.loads(found.stdout)
    assert found.returncode == 0, found.stdout
    assert len(results) > 60
    assert not [result["name"] for result in results if result.get("fail") or result.get("error")]


def test_every_line_of_the_bundle_is_covered_by_its_own_tests() -> None:
    """`opa test --coverage`: not one line of a policy that its `_test.rego` files do not run."""
    found = command("test", "--coverage", "--format", "json", "policies/gateway", "policies/data.json")
    assert found.returncode == 0, found.stdout
    files = {path: seen for path, seen in json.loads(found.stdout)["files"].items() if not path.endswith("_test.rego")}
    assert files.keys() == {
        path.relative_to(opa.ROOT).as_posix()
        for path in POLICIES.rglob("*.rego")
        if not path.name.endswith("_test.rego")
    }
    assert {path: seen["coverage"] for path, seen in files.items()} == dict.fromkeys(files, 100)


TEXT = st.sampled_from(
    ["", "a", "ann", "red", "blue", "protected", "protected/x", "./protected/x", "out/./x", "a\0b", "é", "👩"]
)
ROLES = st.lists(
    st.sampled_from(["admin", "submitter", "operator", "auditor", "viewer", "anonymous", "root"]), max_size=3
)
KINDS = st.sampled_from(["create_file", "read_file", "http", "transform", "delay", "spin"])
PROFILES = st.sampled_from(["wasm", "fast", "semantic", "observational", "none"])
ODD = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.just(0.5) | TEXT | st.lists(TEXT, max_size=2)
PRINCIPAL = st.fixed_dictionaries({"subject": TEXT, "tenant": TEXT, "roles": ROLES, "anonymous": st.booleans()})
PARAMETERS = st.fixed_dictionaries({}, optional={"path": TEXT | ODD, "method": st.sampled_from(["GET", "TRACE", 1])})
TAINT = st.lists(st.sampled_from(["client", "network", "workspace"]), unique=True, max_size=3)
LEVELS = st.sampled_from(["strict", "balanced", "relaxed", "none"])
MISSION = st.fixed_dictionaries(
    {"id": TEXT, "name": TEXT, "labels": st.dictionaries(TEXT, TEXT, max_size=2), "security_level": LEVELS}
)
SECRETS = st.lists(st.sampled_from(["TOKEN"]), max_size=1)
MINUTES = st.datetimes(min_value=datetime(2026, 11, 20), max_value=datetime(2026, 12, 10))  # noqa: DTZ001 - drawn naive
TIME = MINUTES.map(lambda drawn: time_document(drawn.replace(tzinfo=UTC)))
STEP_BASE = {
    "version": st.just(1),
    "principal": PRINCIPAL,
    "mission": MISSION,
    "step": st.fixed_dictionaries(
        {
            "id": TEXT,
            "name": TEXT,
            "step_type": KINDS,
            "profile": PROFILES,
            "attempt": st.just(1),
            "item": st.none() | st.just(0),
            "idempotent": st.booleans(),
            "secrets": SECRETS,
        }
    ),
    "parameters": PARAMETERS,
    "taint": TAINT,
    "time": TIME,
}
ARGS = st.fixed_dictionaries(
    {},
    optional={
        "path": TEXT | ODD,
        "host": TEXT | st.just("b.a"),
        "port": st.sampled_from([80, 8080, "80"]),
        "method": st.sampled_from(["GET", "PUT"]),
        "ms": st.sampled_from([0, 1, 3_600_000, 3_600_001, 0.5, "1"]),
    },
)
EFFECT = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["file.write", "file.read", "http.request", "timer.sleep", "file.delete"]),
        "index": st.just(0),
        "args": ARGS,
        "secrets": SECRETS,
    }
)
METHODS = st.sampled_from(
    ["SubmitMission", "GetMission", "CancelMission", "DecideApproval", "ReadEvents", "QueryEvents", "Check", "X"]
)
SERVICES = st.sampled_from(
    [
        "gateway.v1.MissionService",
        "gateway.v1.AuditService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "*",
    ]
)
PLANNED = st.fixed_dictionaries(
    {
        "id": TEXT,
        "name": TEXT,
        "step_type": KINDS,
        "profile": st.none() | PROFILES,
        "depends_on": st.just([]),
        "conditional": st.booleans(),
        "fan_out": st.booleans(),
        "items": st.none() | st.just(3),
        "max_attempts": st.just(1),
        "idempotent": st.booleans(),
        "parameters": PARAMETERS,
        "secrets": SECRETS,
        "taint": TAINT,
    }
)
DOCUMENTS: dict[Entrypoint, st.SearchStrategy[Any]] = {
    "rpc": st.fixed_dictionaries(
        {
            "version": st.just(1),
            "principal": PRINCIPAL,
            "rpc": st.fixed_dictionaries({"service": SERVICES, "method": METHODS}),
            "resource": st.fixed_dictionaries(
                {},
                optional={
                    "mission_id": TEXT,
                    "tenant": TEXT,
                    "submitter": TEXT,
                    "submitter_roles": ROLES,
                    "audit_scope": st.sampled_from(["mission", "tenant", "log"]),
                    "approved_by": st.lists(TEXT, max_size=2),
                },
            ),
            "time": TIME,
        }
    ),
    "mission": st.fixed_dictionaries(
        {
            "version": st.just(1),
            "principal": PRINCIPAL,
            "mission": st.fixed_dictionaries(
                {
                    "name": TEXT,
                    "digest": st.just("sha256:0"),
                    "labels": st.dictionaries(TEXT | st.just("missiongate.x"), TEXT, max_size=2),
                    "config": st.fixed_dictionaries(
                        {
                            "timeout_seconds": st.just(60.0),
                            "fail_fast": st.booleans(),
                            "parallel_limit": st.sampled_from([1, 256, 257, 1024, 1025]),
                            "strategy": st.sampled_from(["sequential", "parallel", "levels"]),
                            "priority": st.integers(0, 9),
                            "concurrency_key": st.none() | TEXT,
                            "max_restarts": st.just(0),
                        }
                    ),
                    "variables": st.just({}),
                    "steps": st.lists(PLANNED, max_size=5),
                    "levels": st.just(1),
                    "runs": st.sampled_from([1, 10_000, 10_001]),
                    "security_level": LEVELS,
                }
            ),
            "time": TIME,
        }
    ),
    "step": st.fixed_dictionaries(STEP_BASE),
    "effect": st.fixed_dictionaries({**STEP_BASE, "effect": EFFECT}),
}


def assert_agreement(
    server: Opa, evaluator: Evaluator, entrypoint: Entrypoint, document: bytes, *, damaged: bool = False
) -> Status:
    """Hold both engines to one decision, reasons and all; return what regorus has come to.

    Of a damaged document messages are left out, since `%s` of what is no string is spelled differently; and regorus may
    end in an error, which is a refusal.
    """
    frame = evaluator.evaluate(entrypoint, document)
    defined, expected = server.ask(rule_of(entrypoint), json.loads(document))
    if frame[0] == Status.FAILED:
        assert damaged, frame[1:]
        return Status.FAILED
    assert (frame[0] == Status.VALUE) is defined
    if defined:
        found = orjson.loads(frame[1:])
        assert found["allow"] is expected["allow"]
        assert _reasons(found, texts=not damaged) == _reasons(expected, texts=not damaged)
    return Status(frame[0])


def _reasons(decision: Any, *, texts: bool) -> list[tuple[str, ...]]:
    return [(r["code"], r["rule"], r["message"] if texts else "") for r in decision["reasons"]]


@pytest.mark.parametrize("entrypoint", DOCUMENTS)
def test_generated_documents_get_the_same_decision(server: Opa, evaluator: Evaluator, entrypoint: Entrypoint) -> None:
    """Documents of the published shape that come near every rule: OPA and regorus agree to the letter."""
    came_to: Counter[Status] = Counter()

    @settings(max_examples=times(60, 150), deadline=None, suppress_health_check=list(HealthCheck))
    @given(DOCUMENTS[entrypoint])
    def law(document: Any) -> None:
        came_to[assert_agreement(server, evaluator, entrypoint, orjson.dumps(document))] += 1

    law()
    assert came_to[Status.VALUE] == came_to.total() >= times(40, 100)


@pytest.mark.parametrize("entrypoint", DOCUMENTS)
def test_restrictions_get_the_same_decision(restricted: tuple[Opa, Evaluator], entrypoint: Entrypoint) -> None:
    """Grants, windows, limits, separation and taint: whole documents and damaged ones, to the letter and the reason."""
    server, evaluator = restricted
    came_to: Counter[str] = Counter()

    @settings(max_examples=times(180, 300), deadline=None, suppress_health_check=list(HealthCheck))
    @given(DOCUMENTS[entrypoint], st.data())
    def law(document: Any, data: st.DataObject) -> None:
        if damaged := data.draw(st.integers(0, 3)) == 0:
            document = _changed(document, data.draw(st.sampled_from(_paths(document))), data.draw(st.just(_GONE) | ODD))
        status = assert_agreement(server, evaluator, entrypoint, orjson.dumps(document), damaged=damaged)
        came_to[str(status)] += 1
        if status is Status.VALUE:
            reasons = orjson.loads(evaluator.evaluate(entrypoint, orjson.dumps(document))[1:])["reasons"]
            came_to.update({reason["code"] for reason in reasons if "restrictions" in reason["rule"]})

    law()
    assert came_to[str(Status.VALUE)] > times(90, 150)
    assert came_to.keys() >= RESTRICTED[entrypoint]


RESTRICTED: dict[Entrypoint, set[str]] = {  # what has to have come up, or the comparison would say little
    "rpc": {"rpc.closed_now"},
    "mission": {"mission.closed_now", "mission.limit"},
    "step": {"step.closed_now"},
    "effect": {"effect.closed_now", "effect.capability_missing"},
}


@pytest.mark.parametrize("entrypoint", DOCUMENTS)
def test_damaged_documents_get_the_same_decision(server: Opa, evaluator: Evaluator, entrypoint: Entrypoint) -> None:
    """A field that is missing or of another type changes nothing about the agreement, and opens nothing."""
    came_to: Counter[Status] = Counter()

    @settings(max_examples=times(60, 150), deadline=None, suppress_health_check=list(HealthCheck))
    @given(DOCUMENTS[entrypoint], st.data())
    def law(document: Any, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(_paths(document)))
        damaged = _changed(document, path, data.draw(st.just(_GONE) | ODD))
        came_to[assert_agreement(server, evaluator, entrypoint, orjson.dumps(damaged), damaged=True)] += 1

    law()
    assert came_to[Status.VALUE] > came_to.total() / 2  # most are decided, or the comparison would say little


_GONE = object()


def _paths(value: Any, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return []
    return [path for key in value for path in [(*prefix, key), *_paths(value[key], (*prefix, key))]]


def _changed(value: Any, path: tuple[str, ...], new: Any) -> Any:
    if len(path) == 1:
        return {k: new if k == path[0] else v for k, v in value.items() if k != path[0] or new is not _GONE}
    return {k: _changed(v, path[1:], new) if k == path[0] else v for k, v in value.items()}


WRITE = {"path": "protected/x", "content": "", "mode": "create"}
PLAIN: list[tuple[Entrypoint, bytes]] = [
    ("rpc", rpc("gateway.v1.MissionService", "CancelMission", tenant="red", submitter="ann")),
    ("rpc", rpc("gateway.v1.MissionService", "CancelMission", tenant="red", submitter="bob")),
    ("mission", mission(1_000)),
    ("mission", mission(10, roles=("viewer",))),
    ("step", step("create_file", WRITE)),
    ("step", step("transform", {}, profile="semantic")),
    ("effect", effect("create_file", "file.write", WRITE)),
    ("effect", effect("http", "http.request", {"method": "GET", "host": "example.com", "port": 80})),
    ("rpc", b"{}"),
    ("mission", b"{}"),
    ("step", b"null"),
    ("effect", b"[]"),
]


@pytest.mark.parametrize(("entrypoint", "document"), PLAIN)
def test_plain_documents_get_the_same_decision(
    server: Opa, evaluator: Evaluator, entrypoint: Entrypoint, document: bytes
) -> None:
    """The documents of the other tests, among them a mission of a thousand steps."""
    assert assert_agreement(server, evaluator, entrypoint, document) is Status.VALUE


def exact(text: str) -> Any:
    """Return JSON with numbers as they are spelled: 1.10 and 1.1 are two texts."""
    return json.loads(text, parse_float=lambda number: f"number {number}", parse_int=lambda number: f"number {number}")


def on_opa(case: Case, folder: Path) -> Any:
    """Return OPA's value of the case's rule, "undefined" or "error"; as it is, in one process, loaded at once."""
    (folder / "t.rego").write_text(case.source)
    (folder / "data.json").write_text(json.dumps(case.data))
    (folder / "input.json").write_text(json.dumps(case.input))
    assert PROGRAM is not None
    found = subprocess.run(
        [
            PROGRAM,
            "eval",
            "--format=json",
            "--data=t.rego",
            "--data=data.json",
            "--input=input.json",
            "data.gateway.t.d",
        ],
        capture_output=True,
        check=False,
        cwd=folder,
        text=True,
    )
    answer = exact(found.stdout)
    if "errors" in answer:
        return "error"
    return answer["result"][0]["expressions"][0]["value"] if "result" in answer else "undefined"


def on_regorus(case: Case, *, supplied: bool = False) -> Any:
    """Return regorus' value of the case's rule, "undefined" or "error"; without vetting."""
    engine = regorus.Engine()
    try:
        if supplied:
            install(engine, named([case.source]), Spelling(case.data))
        engine.add_policy("t.rego", case.source)
        engine.add_data_json(json.dumps(case.data))
        engine.set_input_json(json.dumps(case.input))
        answer = engine.eval_rule_as_json("data.gateway.t.d")
    except RuntimeError:
        return "error"
    return "undefined" if answer == '"<undefined>"' else exact(answer)


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_what_vetting_accepts_gets_opas_answer(case: Case, tmp_path: Path) -> None:
    """Each accepted construct: the same value on both, or regorus refuses."""
    assert on_regorus(case, supplied=True) in (on_opa(case, tmp_path), "error")


@pytest.mark.parametrize("case", SUPPLIED, ids=lambda case: case.name)
def test_what_is_supplied_differs_without_it_and_agrees_with_it(case: Case, tmp_path: Path) -> None:
    """A builtin is supplied for a reason, and then says what OPA says, or ends the evaluation."""
    expected = on_opa(case, tmp_path)
    assert on_regorus(case) != expected
    assert on_regorus(case, supplied=True) in (expected, "error")


@pytest.mark.parametrize("case", DIFFERENT, ids=lambda case: case.name)
def test_what_vetting_refuses_really_differs(case: Case, tmp_path: Path) -> None:
    """Each measured difference is still there: when an engine changes, the table and the ADR are looked at again."""
    assert on_regorus(case) != on_opa(case, tmp_path)


def test_a_package_read_as_a_value_breaks_imports_in_regorus(tmp_path: Path) -> None:
    """The reason for `policy.package_reference`: regorus answers undefined where OPA has a value."""
    lib = (
        "package gateway.lib\nimport rego.v1\nimport data.gateway.config\n"
        'table := {"x": "w"}\nf(o) := config[table[o]]\n'
    )
    body = 'import data.gateway.lib\nd := [a, b] if { a := lib.table.x; b := lib.f("x") }'
    case = Case("imports", "policy.package_reference", body, data={"gateway": {"config": {"w": 7}}})
    (tmp_path / "lib.rego").write_text(lib)
    (tmp_path / "t.rego").write_text(case.source)
    (tmp_path / "data.json").write_text(json.dumps(case.data))
    found = command("eval", "--format=raw", f"--data={tmp_path}", "data.gateway.t.d")
    assert found.stdout.strip() == '["w",7]'
    engine = regorus.Engine()
    engine.add_policy("lib.rego", lib)
    engine.add_policy("t.rego", case.source)
    engine.add_data_json(json.dumps(case.data))
    assert engine.eval_rule_as_json("data.gateway.t.d") == '"<undefined>"'
