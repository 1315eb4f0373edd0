"""Tests of bundles: found, vetted, run; each claim is about the pure part, without a worker."""

import json

import pytest

from gateway.policy.answer import Status
from gateway.policy.authoring.interpreter import Answer, Interpreter
from gateway.policy.authoring.sources import Sources
from gateway.policy.authoring.suite import Suite, matching, read_suite
from gateway.policy.bundle import Bundle
from tests.rego_test_cases import ACCEPTED, DATA, POLICY, REFUSED, TestFile

MANIFEST = json.dumps({"revision": "t", "roots": ["gateway", "other"], "rego_version": 1}).encode()


def sources_of(text: str, *, policy: str = POLICY, name: str = "gateway/t_test.rego") -> Sources:
    """Return a bundle with one file of rules and one of tests."""
    return Sources(
        {
            ".manifest": MANIFEST,
            "data.json": json.dumps(DATA).encode(),
            "gateway/p.rego": policy.encode(),
            name: text.encode(),
        }
    )


def suite_of(text: str) -> Suite:
    """Return the suite of one file of tests, which has to be accepted."""
    sources = sources_of(text)
    suite, wrong = read_suite(sources, Bundle.from_files(sources.files))
    assert not wrong, wrong
    return suite


def answers(suite: Suite) -> dict[str, Answer]:
    """Return what each test comes to on regorus."""
    interpreter = Interpreter.of([(module.path, module.text) for module in suite.modules], DATA)
    return {case.name: interpreter.ask(case.rule) for case in suite.cases}


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_what_is_accepted_comes_to_a_value(case: TestFile) -> None:
    """Each of these is vetted, laid out and evaluated; the integration test compares the values with OPA's."""
    found = answers(suite_of(case.source("t_test")))["test_a"]
    assert found.status in {Status.VALUE, Status.UNDEFINED}
    assert found.value in {True, None}


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_is_refused_names_file_line_and_rule(case: TestFile) -> None:
    """Tests that the engines would answer differently, or that test something else, are not run at all."""
    package = "p" if case.code == "policy.test_overrides" else "t_test"
    text = case.source(package).replace("import data.gateway.p\n", "" if package == "p" else "import data.gateway.p\n")
    sources = sources_of(text)
    suite, wrong = read_suite(sources, Bundle.from_files(sources.files))
    assert not suite.cases
    assert case.code in {error.code for error in wrong}
    error = next(error for error in wrong if error.code == case.code)
    assert error.file == "gateway/t_test.rego"
    assert error.line is not None
    assert sources.line(error.file, error.line).strip() or case.code == "policy.syntax"


def test_every_finding_is_told_and_not_only_the_first() -> None:
    """Two tests that are refused are two findings, each at its line."""
    body = "test_a if p.sl == 3 with array.slice as 3\n\ntest_b if time.now_ns() > 0\n\ntest_c if true"
    sources = sources_of(TestFile("", body).source("t_test"))
    _, wrong = read_suite(sources, Bundle.from_files(sources.files))
    assert [(error.code, error.line) for error in wrong] == [("policy.with_target", 7), ("policy.builtin", 9)]


def test_tests_are_found_as_opa_finds_them() -> None:
    """By prefix, in any file, skipped ones too; definitions of one name are tests of their own."""
    body = "test_a if true\n\ntest_a if false\n\n\ttodo_test_b if true\n\nhelper if true\n\ntest_c := 7"
    suite = suite_of(TestFile("", body).source("t_test"))
    assert [(case.name, case.row, case.column, case.skipped) for case in suite.cases] == [
        ("test_a", 7, 1, False),
        ("test_a#01", 9, 1, False),
        ("todo_test_b", 11, 2, True),
        ("test_c", 15, 1, False),
    ]
    found = answers(suite)
    assert found["test_a"].value is True
    assert found["test_a#01"].status is Status.UNDEFINED
    assert found["test_c"].value == 7
    assert [case.name for case in matching(suite.cases, r"t_test\.test_a#")] == ["test_a#01"]


def test_a_test_in_a_file_of_rules_is_found() -> None:
    """OPA goes by the name of the rule, not by that of the file."""
    sources = sources_of("package gateway.t_test\n", policy=POLICY + "\ntest_here if true\n")
    suite, wrong = read_suite(sources, Bundle.from_files(sources.files))
    assert not wrong
    assert [case.full_name for case in suite.cases] == ["data.gateway.p.test_here"]


def test_a_local_name_is_not_taken_for_an_import() -> None:
    """Only what an import stands for is written out: an argument of the same name is left alone."""
    body = 'value(p) := p.x\n\ntest_a if value({"x": 1}) == 1'
    assert answers(suite_of(TestFile("", body).source("t_test")))["test_a"].value is True
