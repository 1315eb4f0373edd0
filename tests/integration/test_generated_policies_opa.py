"""Random policies that vetting accepts, through regorus and the real OPA: the same values, or an error."""

import json
import os
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import regorus

from gateway.errors import PolicyInvalidError
from gateway.policy.supplied import Spelling, install, named
from gateway.policy.vetting import Module, vet
from tests import opa
from tests.opa import Opa
from tests.rego_generator import DATA, Policy, document
from tools.conformance.cases import plain

PROGRAM, WHY_NOT = opa.find()

if PROGRAM is None:
    if os.environ.get("CI") == "true":
        pytest.fail(WHY_NOT, pytrace=False)
    pytest.skip(WHY_NOT, allow_module_level=True)

POLICIES = int(os.environ.get("MG_POLICIES", "1000"))
FIRST = int(os.environ.get("MG_FIRST", "0"))
DOCUMENTS = [document(seed) for seed in range(12)]


def accepted() -> list[Policy]:
    """Return the generated policies that pass vetting."""
    out = []
    for seed in range(FIRST, FIRST + POLICIES):
        policy = Policy(seed, f"gen.p{seed}")
        try:
            vet([Module(f"p{seed}.rego", policy.text)], roots=["gen"], data=DATA)
        except PolicyInvalidError:
            continue
        out.append(policy)
    return out


@pytest.fixture(scope="module")
def policies() -> list[Policy]:
    return accepted()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, policies: list[Policy]) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    (folder / "data.json").write_text(json.dumps(DATA))
    for policy in policies:
        (folder / f"{package(policy)}.rego").write_text(policy.text)
    return folder


def package(policy: Policy) -> str:
    return policy.text.split("\n", 1)[0].removeprefix("package ")


@pytest.fixture(scope="module")
def errors(folder: Path) -> dict[str, set[str]]:
    """The codes of the errors for which OPA would not load a policy, by package."""
    assert PROGRAM is not None
    command = [PROGRAM, "check", "--max-errors", "10000", "--format", "json", str(folder)]
    checked = subprocess.run(command, capture_output=True, check=False, text=True)
    found: dict[str, set[str]] = defaultdict(set)
    for error in json.loads(checked.stdout or checked.stderr or "{}").get("errors", []):
        found[Path(error["location"]["file"]).stem].add(error["code"])
    return found


def test_opa_loads_what_vetting_accepts(policies: list[Policy], errors: dict[str, set[str]]) -> None:
    """OPA refuses to load nothing that is accepted, but for its checker of types, which vetting has only in part."""
    assert {code for codes in errors.values() for code in codes} <= {"rego_type_error"}
    assert len(errors) < len(policies) / 5
    assert len(policies) > POLICIES / 10


@pytest.fixture(scope="module")
def server(folder: Path, errors: dict[str, set[str]]) -> Iterator[Opa]:
    assert PROGRAM is not None
    for name in errors:
        (folder / f"{name}.rego").unlink()
    with opa.serving(PROGRAM, folder, str(folder)) as running:
        yield running


def test_generated_policies_get_opas_values(server: Opa, policies: list[Policy], errors: dict[str, set[str]]) -> None:
    """Every rule of every accepted policy, over documents with missing and mistyped fields."""
    came_to: Counter[str] = Counter()
    for policy in [policy for policy in policies if package(policy) not in errors]:
        engine, spelling = regorus.Engine(), Spelling(DATA)
        engine.add_policy("p.rego", policy.text)
        engine.add_data_json(json.dumps(DATA))
        install(engine, named([policy.text]), spelling)
        for value in DOCUMENTS:
            expected = values_of(server, policy, value)
            for rule in policy.rules:
                found = value_of(engine.clone(), spelling, f"data.{package(policy)}.{rule}", value)
                if found is ENDED:
                    came_to["ended"] += 1
                    continue
                if expected[rule] is CONFLICT:  # OPA may look at a rule that regorus has no need of
                    came_to["conflict"] += 1
                    continue
                assert plain(found) == plain(expected[rule]), (rule, orjson.dumps(value), policy.text)
                came_to["undefined" if found is None else "value"] += 1
    assert came_to["value"] > came_to.total() / 5
    assert came_to["ended"] < came_to.total() / 2
    assert came_to["conflict"] < came_to.total() / 20


ENDED, CONFLICT = object(), object()


def values_of(server: Opa, policy: Policy, value: Any) -> dict[str, Any]:
    """Return OPA's value of each rule, as a list of one; None where it is undefined, or ends in an error."""
    try:
        values = server.ask(f"data.{package(policy)}", value)[1]
    except ValueError:
        return {rule: rule_value(server, f"data.{package(policy)}.{rule}", value) for rule in policy.rules}
    return {rule: [values[rule]] if rule in values else None for rule in policy.rules}


def rule_value(server: Opa, rule: str, value: Any) -> Any:
    try:
        defined, found = server.ask(rule, value)
    except ValueError as error:
        if not re.search("eval_(conflict|internal)_error", str(error)):  # OPA 1.22.0 fails at some negations itself
            raise
        return CONFLICT
    return [found] if defined else None


def value_of(engine: regorus.Engine, spelling: Spelling, rule: str, value: Any) -> Any:
    text = orjson.dumps(value)
    spelling.begin(text)
    engine.set_input_json(text.decode())
    try:
        answer = engine.eval_rule_as_json(rule)
    except RuntimeError:
        return ENDED
    return None if answer == '"<undefined>"' else [json.loads(answer)]
