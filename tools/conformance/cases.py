"""The cases: OPA's exported form for other engines, as it lies in tests/vectors/rego."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
CASES: Final = ROOT / "tests" / "vectors" / "rego" / "opa_v1_cases.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One query over modules, data and an input, and what OPA says to it."""

    note: str
    folder: str
    query: str
    modules: tuple[str, ...]
    data: dict[str, Any]
    input_json: str | None  # None: no input, or one that is no JSON (`input_term`)
    input_term: str | None  # a Rego term that is no JSON
    want: tuple[Any, ...]  # the bindings of each result
    want_error: bool
    strict: bool  # the error is one only where OPA is told to stop at errors of builtins; else the call is undefined

    @property
    def texts(self) -> list[tuple[str, str]]:
        """(name, text) of each module."""
        return [(f"m{number}.rego", text) for number, text in enumerate(self.modules)]


def load(path: Path = CASES) -> list[Case]:
    """Read the cases of a file."""
    return [_case(value) for value in json.loads(path.read_bytes())]


def _case(value: dict[str, Any]) -> Case:
    input_json, input_term = None, None
    if "input" in value:
        input_json = json.dumps(value["input"])
    elif "input_term" in value:
        try:
            input_json = json.dumps(json.loads(value["input_term"]))
        except ValueError:
            input_term = value["input_term"]
    return Case(
        note=value["note"],
        folder=value["folder"],
        query=value["query"],
        modules=tuple(value.get("modules") or ()),
        data=value.get("data") or {},
        input_json=input_json,
        input_term=input_term,
        want=tuple(value.get("want_result") or ()),
        want_error="want_error_code" in value or "want_error" in value,
        strict=bool(value.get("strict_error")),
    )


def ordered(bindings: Any) -> list[str]:
    """Return the results of a query in a form in which equal ones are equal; their order says nothing."""
    return sorted(json.dumps(plain(binding), sort_keys=True) for binding in bindings)


def plain(value: Any) -> Any:
    """1.0 and 1 are one number."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value
