"""Coverage: which heads and statements tests have looked at, in OPA's terms."""

import json
from pathlib import Path

from gateway.policy.authoring.coverage import Coverage, coverage_of
from gateway.policy.authoring.interpreter import Interpreter
from gateway.policy.authoring.layout import Layout, lay_out
from gateway.policy.bundle import Bundle
from gateway.policy.rego_ast import parse_module
from tests.policy_documents import effect, mission, rpc, step

POLICIES = Path(__file__).parents[5] / "policies"

SOURCE = """package gateway.p

import rego.v1

default allow := false

allow if input.x == 1 # a comment { with [ brackets

allow if {
	input.y == 1
	input.z == 2
}

deny contains {
	"code": "a",
	"list": [y | some y in [1]; y > 1],
} if {
	input.q == "a \\" } b"
	every z in [1, 2] {
		z > 0
		z < 9
	}
}

k := "text"

e := 1 if {
	input.x == 7
} else := 2

f(a) := b if b := concat("/", [a, a])
"""


def layout() -> Layout:
    """Return the file laid out."""
    return lay_out(parse_module("p.rego", SOURCE))


def covered_by(*asked: tuple[str, object]) -> Coverage:
    """Return the coverage of asking for rules, each with an input."""
    laid = layout()
    interpreter = Interpreter.of([("p.rego", laid.text)], {}, coverage=True)
    runs = [interpreter.covered(f"data.gateway.p.{rule}", json.dumps(value).encode())[1] for rule, value in asked]
    return coverage_of({"p.rego": laid}, runs)


def rows(coverage: Coverage) -> list[int]:
    """Return the rows that are not covered."""
    return coverage.files["p.rego"].not_covered_rows


def test_the_layout_answers_as_the_file_does() -> None:
    """Each rule has the same value in both, for inputs that reach each of its parts."""
    plain = Interpreter.of([("p.rego", SOURCE)], {})
    laid = Interpreter.of([("p.rego", layout().text)], {})
    inputs = [{}, {"x": 1}, {"x": 7}, {"y": 1, "z": 2}, {"q": 'a " } b'}]
    for rule in ("allow", "deny", "k", "e"):
        for value in inputs:
            raw = json.dumps(value).encode()
            found = plain.ask(f"data.gateway.p.{rule}", raw)
            assert laid.ask(f"data.gateway.p.{rule}", raw) == found
            assert found.defined


def test_nothing_is_covered_by_nothing() -> None:
    """Without a test each head and each statement is missing, once."""
    coverage = covered_by()
    assert coverage.percent == 0.0
    assert rows(coverage) == [5, 7, 9, 10, 11, 14, 15, 16, 17, 18, 19, 20, 21, 22, 25, 27, 28, 29, 31]


def test_a_statement_is_covered_once_it_was_looked_at() -> None:
    """The second statement of a body is not, where the first does not hold; nor is the head."""
    missing = rows(covered_by(("allow", {"x": 1, "y": 2})))
    assert 7 not in missing
    assert 10 not in missing
    assert {9, 11} <= set(missing)


def test_a_default_counts_where_nothing_else_answered() -> None:
    """Regorus looks at every default; what counts is that it was the answer."""
    assert 5 in rows(covered_by(("allow", {"x": 1})))
    assert 5 not in rows(covered_by(("allow", {})))


def test_a_head_whose_value_is_undefined_has_not_answered() -> None:
    """The body holds, and the function gives nothing: neither engine calls that an answer."""
    source = 'package gateway.p\n\nimport rego.v1\n\nd := concat("/", input.missing) if true\n'
    laid = lay_out(parse_module("p.rego", source))
    interpreter = Interpreter.of([("p.rego", laid.text)], {}, coverage=True)
    coverage = coverage_of({"p.rego": laid}, [interpreter.covered("data.gateway.p.d", b"{}")[1]])
    file = coverage.files["p.rego"]
    assert [each.document() for each in file.not_covered] == [
        {"start": {"row": 5, "col": 1}, "end": {"row": 5, "col": 32}}
    ]


def test_everything_is_covered_by_tests_that_reach_it() -> None:
    """All rows count, and the percentages are whole: the report as OPA writes it."""
    asked = [
        ("allow", {}),
        ("allow", {"x": 1}),
        ("allow", {"y": 1, "z": 2}),
        ("deny", {"q": 'a " } b'}),
        ("k", {}),
        ("e", {"x": 7}),
        ("e", {}),
    ]
    document = covered_by(*asked).document()
    file = document["files"]["p.rego"]  # type: ignore[index]
    assert file["not_covered_lines"] == 1  # the function
    assert file["not_covered"][0]["start"] == {"row": 31, "col": 1}
    assert document["covered_lines"] == file["covered_lines"] == 18
    assert round(float(file["coverage"]), 1) == 94.7


def test_a_place_in_the_layout_is_one_in_the_file() -> None:
    """An error that regorus reports in the layout is told with the author's row."""
    laid = layout()
    line = next(number for number, text in enumerate(laid.text.split("\n"), 1) if "input.z == 2" in text)
    assert laid.row(line) == 11
    assert laid.row(10_000) is None


def test_the_bundled_policies_decide_the_same_in_their_layout() -> None:
    """What is laid out for coverage decides each document to the letter as what is not."""
    bundle = Bundle.load(POLICIES)
    texts = [(module.path, lay_out(parse_module(module.path, module.text)).text) for module in bundle.modules]
    plain = Interpreter.of(bundle.sources, bundle.document)
    laid = Interpreter.of(texts, bundle.document)
    documents = [
        ("rpc", rpc("gateway.v1.MissionService", "CancelMission", tenant="red", submitter="bob")),
        ("mission", mission(5)),
        ("mission", mission(5, roles=("viewer",))),
        ("step", step("create_file", {"path": "protected/x"})),
        ("step", step("transform", {})),
        ("effect", effect("http", "http.request", {"method": "GET", "host": "h", "port": 80})),
        ("effect", effect("delay", "timer.sleep", {"ms": 5})),
        ("effect", b"{}"),
    ]
    verdicts = set()
    for entrypoint, document in documents:
        answer = plain.ask(f"data.gateway.{entrypoint}.decision", document)
        assert laid.ask(f"data.gateway.{entrypoint}.decision", document) == answer
        verdicts.add(answer.value["allow"])
    assert verdicts == {True, False}
