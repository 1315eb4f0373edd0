import json
from pathlib import Path
from typing import Any

import pytest
import regorus

from gateway.policy.vetting import Module, vet

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[3] / "vectors" / "rego" / "opa_v1_accepted.json").read_text()
)


def answer(case: dict[str, Any]) -> list[Any] | None:
    """Return the bindings of the query, or None where regorus refuses."""
    engine = regorus.Engine()
    try:
        for number, text in enumerate(case["modules"]):
            engine.add_policy(f"m{number}.rego", text)
        engine.add_data_json(json.dumps(case.get("data") or {}))
        if "input" in case:
            engine.set_input_json(json.dumps(case["input"]))
        found = json.loads(engine.eval_query_as_json(case["query"]))
    except RuntimeError:
        return None
    return [result["bindings"] for result in found.get("result", [])]


def ordered(bindings: list[Any]) -> list[str]:
    return sorted(json.dumps(binding, sort_keys=True) for binding in bindings)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["note"])
def test_what_vetting_accepts_agrees_with_opa(case: dict[str, Any]) -> None:
    """OPA's own cases: a module that passes vetting gets OPA's answer, or an error, and never another answer."""
    modules = [Module(f"m{number}.rego", text) for number, text in enumerate(case["modules"])]
    vet(modules, roots=[""], data=case.get("data") or {})
    found = answer(case)
    if "want_error_code" in case:
        assert found is None
    else:
        assert found is None or ordered(found) == ordered(case.get("want_result") or [])


def test_most_cases_are_answered() -> None:
    """Refusing everything would agree as well: nearly all cases that have an answer get it."""
    wanted = [case for case in CASES if "want_error_code" not in case]
    assert sum(answer(case) is not None for case in wanted) > 0.9 * len(wanted)
