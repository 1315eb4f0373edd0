"""Every supplied builtin beside the real OPA: the same answer, or none."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import orjson
import pytest
import regorus
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.policy import builtin_types, builtins
from gateway.policy.supplied import SUPPLIED, Spelling, install
from tests import jwt_tokens, opa
from tests.builtin_calls import CALLS, NATIVE_CALLS
from tests.opa import Opa

PROGRAM, WHY_NOT = opa.find()

if PROGRAM is None:
    if os.environ.get("CI") == "true":
        pytest.fail(WHY_NOT, pytrace=False)
    pytest.skip(WHY_NOT, allow_module_level=True)


def package(name: str) -> str:
    """Return the package whose rule `out` calls the builtin `name`."""
    return "supplied." + name.replace(".", "_")


def module(name: str, operands: int) -> str:
    """Return a module that calls a builtin once for each list of operands in `input`; undefined calls are left out."""
    call = f"{name}({', '.join(f'xs[{n}]' for n in range(operands))})"
    return f"package {package(name)}\nimport rego.v1\nout[i] := r if {{ some i, xs in input; r := {call} }}\n"


ALL_CALLS = {**CALLS, **NATIVE_CALLS}
ARITY = {**builtins.ARITY, **dict.fromkeys(["io.jwt.decode_verify"], 2)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opa]:
    folder = tmp_path_factory.mktemp("supplied")
    for name, operands in ARITY.items():
        (folder / f"{package(name)}.rego").write_text(module(name, operands))
    assert PROGRAM is not None
    with opa.serving(PROGRAM, folder, str(folder)) as running:
        yield running


class Supplied:
    """regorus with one supplied builtin, asked as the workers ask it."""

    def __init__(self, name: str) -> None:
        self._spelling = Spelling({})
        self._engine = regorus.Engine()
        text = f"package t\nimport rego.v1\nout := {name}({', '.join(f'input[{n}]' for n in range(ARITY[name]))})\n"
        self._engine.add_policy("t.rego", text)
        install(self._engine, SUPPLIED & {name}, self._spelling)
        self._engine.eval_query_as_json("true")

    def ask(self, operands: list[Any]) -> Any:
        """Return the answer; `REFUSED` where the evaluation ends in an error."""
        document = orjson.dumps(operands)
        engine = self._engine.clone()
        self._spelling.begin(document)
        engine.set_input_json(document.decode())
        try:
            answer = engine.eval_rule_as_json("data.t.out")
        except RuntimeError:
            return REFUSED
        return UNDEFINED if answer == '"<undefined>"' else json.loads(answer)


REFUSED = object()
UNDEFINED = object()


def asked(server: Opa, name: str, calls: list[Any]) -> list[Any]:
    """Return OPA's answers; `UNDEFINED` where it has none."""
    out = server.ask_raw(f"data.{package(name)}.out", calls)
    return [out.get(str(n), UNDEFINED) for n in range(len(calls))]


@pytest.mark.parametrize("name", sorted(ALL_CALLS))
def test_generated_calls_get_opas_answer_or_none(server: Opa, name: str) -> None:
    """Whatever it is called with, a supplied builtin answers what OPA answers, or ends the evaluation."""
    supplied = Supplied(name)
    answered = 0

    @settings(
        max_examples=int(os.environ.get("MG_EXAMPLES", "8")),
        derandomize="MG_EXAMPLES" not in os.environ,  # every run the same, and others for who asks for more
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(st.lists(ALL_CALLS[name].map(list), min_size=10, max_size=20))
    def law(calls: list[Any]) -> None:
        nonlocal answered
        calls = json.loads(orjson.dumps(calls))
        for call, expected in zip(calls, asked(server, name, calls), strict=True):
            found = supplied.ask(call)
            answered += found is not REFUSED
            assert found is REFUSED or found == expected, f"{name}{call}: {found!r}, and OPA {expected!r}"

    law()
    assert answered > 0


TOKENS: dict[str, Callable[[], list[list[Any]]]] = {
    "io.jwt.decode": jwt_tokens.decode_calls,
    "io.jwt.decode_verify": jwt_tokens.decode_verify_calls,
    **{f"io.jwt.verify_{name.lower()}": partial(jwt_tokens.verify_calls, name) for name in jwt_tokens.ALGORITHMS},
}


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_are_judged_as_opa_judges_them(server: Opa, name: str) -> None:
    """Good and damaged tokens, keys in every form, constraints that hold and that do not: OPA's answer, or none."""
    supplied, calls = Supplied(name), TOKENS[name]()
    found = [supplied.ask(call) for call in calls]
    expected = asked(server, name, calls)
    for call, ours, theirs in zip(calls, found, expected, strict=True):
        assert ours is REFUSED or ours == theirs, f"{name}{call}: {ours!r}, and OPA {theirs!r}"
    answered = [answer for answer in found if answer is not REFUSED]
    assert len(answered) > sum(answer is not UNDEFINED for answer in expected) / 2
    assert any(answer is True or (isinstance(answer, list) and answer[0]) for answer in answered)


def test_every_supplied_builtin_is_compared() -> None:
    """A new one without operands here fails."""
    assert (ALL_CALLS.keys() | TOKENS.keys()) - builtins.NATIVE.keys() == SUPPLIED
    assert builtins.NATIVE.keys() - ALL_CALLS.keys() == {"count", "intersection", "union"}  # of sets; in rego_cases


@pytest.mark.parametrize("name", ["lower", "upper"])
def test_every_letter_is_mapped_as_opa_maps_it(server: Opa, name: str) -> None:
    """All of Unicode: the case mappings are Go's."""
    supplied = Supplied(name)
    letters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    calls = [["".join(letters[start : start + 4_096])] for start in range(0, len(letters), 4_096)]
    for call, expected in zip(calls, asked(server, name, calls), strict=True):
        assert supplied.ask(call) == expected


def test_the_types_of_builtins_are_opas() -> None:
    """What vetting takes for the type of an operand or result is what OPA's compiler takes."""
    assert PROGRAM is not None
    told = subprocess.run([PROGRAM, "capabilities", "--current"], capture_output=True, check=True, text=True).stdout
    known = {builtin["name"]: builtin["decl"] for builtin in json.loads(told)["builtins"]}
    for name in builtins.ALLOWED:
        operands = [letters(operand) for operand in known[name]["args"]]
        assert (builtin_types.operands(name), builtin_types.result(name)) == (
            operands,
            letters(known[name]["result"]),
        ), name
        assert len(operands) == builtins.ARITY[name]


def letters(declared: Any) -> str:
    """Return a type of OPA's as `gateway.policy.builtin_types` writes it."""
    one = {"string": "s", "number": "n", "boolean": "b", "null": "z", "array": "a", "object": "o", "set": "t"}
    if declared["type"] != "any":
        return one[declared["type"]]
    return "".join(sorted({letters(inner) for inner in declared.get("of") or []})) or "*"
