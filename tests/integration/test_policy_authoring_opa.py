"""`policy test` and `policy check` beside the real `opa`: results, exit codes, coverage, and every claim of vetting."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.policy.authoring.interpreter import Interpreter
from gateway.policy.authoring.sources import Sources
from gateway.policy.authoring.suite import read_suite
from gateway.policy.bundle import Bundle
from tests import opa
from tests.cli_runner import Ran, run
from tests.rego_test_cases import ACCEPTED, DATA, POLICY, REFUSED

POLICIES = opa.ROOT / "policies"
PROGRAM, WHY_NOT = opa.find()
MANIFEST = json.dumps({"revision": "t", "roots": ["gateway", "other"], "rego_version": 1})

if PROGRAM is None:
    if os.environ.get("CI") == "true":
        pytest.fail(WHY_NOT, pytrace=False)
    pytest.skip(WHY_NOT, allow_module_level=True)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both programs are run in the bundle's folder: OPA 1.22.0 mixes up the files of a bundle that lies elsewhere.

    It is the default bundle, and without its tests: what is compared are those that a test adds.
    """
    assert PROGRAM is not None
    monkeypatch.setenv("PATH", f"{Path(PROGRAM).parent}{os.pathsep}{os.environ['PATH']}")
    shutil.copytree(POLICIES, tmp_path / "policies", ignore=shutil.ignore_patterns("*_test.rego"))
    monkeypatch.chdir(tmp_path / "policies")


@pytest.fixture
def _whole(_here: None) -> None:
    """The bundle's own tests are there as well."""
    shutil.copytree(POLICIES, Path.cwd(), dirs_exist_ok=True)


def theirs(*options: str) -> subprocess.CompletedProcess[bytes]:
    """Run `opa test` on the bundle here."""
    assert PROGRAM is not None
    return subprocess.run([PROGRAM, "test", "--bundle", ".", *options], capture_output=True, check=False)


def ours(*options: str) -> Ran:
    """Run `policy test` on the bundle here."""
    return run("policy", "test", ".", *options, width=300)


def by_name(results: Any) -> dict[str, Mapping[str, Any]]:
    """Return results by full name, without what differs from run to run."""
    return {
        f"{each['package']}.{each['name']}": {key: value for key, value in each.items() if key != "duration"}
        for each in results
    }


@pytest.mark.usefixtures("_whole")
def test_the_bundled_tests_have_the_same_results() -> None:
    """The same tests, all passed, in both forms of output, with the same exit code."""
    opas = theirs("--format=json")
    found = ours("--format", "json")
    assert by_name(orjson.loads(found.out)) == by_name(orjson.loads(opas.stdout))
    assert found.code == opas.returncode == 0
    assert ours().out.encode() == theirs().stdout


SUITE = """package gateway.site_test

import rego.v1

import data.gateway.step

test_passes if not step.decision.allow with input as {}

test_fails if {
	1 == 1
	step.decision.allow with input as {}
}

test_undefined if step.nothing_here.x

test_false := false

test_number := 7

test_null := null

test_twice if true

test_twice if false

todo_test_later if true

test_later if every x in [1, 2] { x > 0 }

not_a_test if false
"""


def test_a_suite_of_every_outcome_is_told_alike() -> None:
    """Passed, failed, skipped, not true, twice: each result, its place and its fields, the counts and exit codes."""
    Path("gateway/site_test.rego").write_text(SUITE.replace("step.nothing_here.x", "input.nothing_here"))
    opas, found = theirs("--format=json", "--run=site_test"), ours("--format", "json", "--run", "site_test")
    assert by_name(orjson.loads(found.out)) == by_name(orjson.loads(opas.stdout))
    assert len(orjson.loads(found.out)) == 10
    assert found.code == opas.returncode == 2
    opas, found = theirs("--run=site_test"), ours("--run", "site_test")
    assert sorted(_untimed(found.out)) == sorted(_untimed(opas.stdout.decode()))
    assert found.code == opas.returncode == 2


@pytest.mark.parametrize(
    "options",
    [
        ("--run=later",),
        ("--run=later", "--exit-zero-on-skipped"),
        ("--run=no_such_test",),
        ("--run=test_passes", "--coverage", "--format=json"),
        ("--run=test_fails", "--coverage", "--format=json"),
        ("--run=test_passes", "--coverage", "--threshold=99", "--format=json"),
        ("--run=test_passes", "--coverage", "--threshold=0.01", "--format=json"),
        ("--run=(",),
    ],
)
def test_exit_codes_are_those_of_opa(options: tuple[str, ...]) -> None:
    """Skipped, none, covered, not covered enough, failing under coverage, no regular expression."""
    Path("gateway/site_test.rego").write_text(SUITE.replace("step.nothing_here.x", "input.nothing_here"))
    assert ours(*options).code == theirs(*options).returncode


def test_a_wrong_type_is_an_error_here_and_never_a_pass() -> None:
    """OPA leaves the call undefined, regorus ends in an error: a failure there, an error here, one exit code."""
    text = 'package gateway.site_test\n\nimport rego.v1\n\ntest_a if startswith(input.x, "a") with input as {"x": 1}\n'
    Path("gateway/site_test.rego").write_text(text)
    opas, found = theirs("--format=json", "--run=site_test"), ours("--format", "json", "--run", "site_test")
    assert orjson.loads(opas.stdout)[0]["fail"] is True
    assert orjson.loads(found.out)[0]["error"]["code"] == "eval_internal_error"
    assert found.code == opas.returncode == 2


def test_a_conflict_is_an_error_in_both() -> None:
    """With one code, at one place, and one exit code."""
    Path("gateway/site_test.rego").write_text(
        "package gateway.site_test\n\nimport rego.v1\n\nv := x if some x in [1, 2]\n\ntest_a if v == 1\n"
    )
    errors = [
        orjson.loads(each)[0]["error"]
        for each in (theirs("--format=json", "--run=site_test").stdout, ours("-f", "json", "-r", "site_test").out)
    ]
    assert {error["code"] for error in errors} == {"eval_conflict_error"}
    assert {(error["location"]["file"], error["location"]["row"]) for error in errors} == {
        ("gateway/site_test.rego", 5)
    }
    assert ours("-r", "site_test").code == theirs("--run=site_test").returncode == 2


def test_a_syntax_error_is_exit_1_in_both() -> None:
    """Nothing is run."""
    Path("gateway/site_test.rego").write_text("package gateway.site_test\n\nimport rego.v1\n\ntest_a if {\n")
    assert ours().code == theirs().returncode == 1


def _untimed(text: str) -> list[str]:
    return [line.partition(" (")[0] for line in text.splitlines() if line]


def _ranges(file: Mapping[str, Any], name: str) -> set[tuple[int, int, int, int]]:
    return {
        (each["start"]["row"], each["start"]["col"], each["end"]["row"], each["end"]["col"])
        for each in file.get(name, [])
    }


@pytest.mark.usefixtures("_whole")
def test_coverage_of_the_bundled_tests_is_opas() -> None:
    """The same files; what OPA has as not covered is not covered here, range by range.

    Here one default more may be not covered: where in one test it was the answer, and something else was, too.
    """
    opas = orjson.loads(theirs("--coverage", "--format=json").stdout)
    found = orjson.loads(ours("--coverage", "--format", "json").out)
    assert found["files"].keys() == opas["files"].keys()
    assert found.keys() == opas.keys()
    more = 0
    for path, file in opas["files"].items():
        mine = found["files"][path]
        assert mine.keys() <= file.keys() | {"not_covered", "not_covered_lines"}
        assert _ranges(mine, "not_covered") >= _ranges(file, "not_covered")
        over = _ranges(mine, "not_covered") - _ranges(file, "not_covered")
        lines = Path(path).read_text().split("\n")
        assert all(lines[row - 1].startswith("default ") for row, *_ in over), (path, over)
        rows = {row for first, _, last, _ in over for row in range(first, last + 1)}
        assert mine["covered_lines"] == file["covered_lines"] - len(rows)
        more += len(rows)
    assert found["covered_lines"] == opas["covered_lines"] - more
    assert more <= 5


@pytest.mark.usefixtures("_whole")
def test_coverage_of_one_test_is_no_less_than_opas() -> None:
    """With much that no test reaches: whatever OPA has as covered is covered here, but for defaults.

    More may be: OPA's index leaves definitions out, it stops at the first that answers, and evaluates calls in another
    order. Of `x in rule` it evaluates the rule also where `x` is undefined.
    """
    opas = orjson.loads(theirs("--run=test_short_sleep", "--coverage", "--format=json").stdout)
    found = orjson.loads(ours("--run=test_short_sleep", "--coverage", "--format", "json").out)
    looked_at = 0
    for path, file in opas["files"].items():
        lines = Path(path).read_text().split("\n")
        more = _ranges(found["files"][path], "not_covered") - _ranges(file, "not_covered")
        assert all(lines[row - 1].startswith(("default ", "audit_scopes := ")) for row, *_ in more), (path, more)
        looked_at += len(_ranges(file, "not_covered"))
    assert looked_at > 100


def test_what_vetting_of_tests_accepts_gets_opas_answer(tmp_path: Path) -> None:
    """Each accepted construct, run by `opa test` and on regorus as `policy test` gives it: one answer."""
    folder = tmp_path / "cases"
    (folder / "gateway").mkdir(parents=True)
    files: dict[str, bytes] = {
        ".manifest": MANIFEST.encode(),
        "data.json": json.dumps(DATA).encode(),
        "gateway/p.rego": POLICY.encode(),
    }
    for number, case in enumerate(ACCEPTED):
        files[f"gateway/t{number}_test.rego"] = case.source(f"t{number}_test").encode()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    assert PROGRAM is not None
    ran = subprocess.run(
        [PROGRAM, "test", "--bundle", ".", "--format=json"], capture_output=True, check=False, cwd=folder
    )
    opas = {each["package"]: not each.get("fail") and "error" not in each for each in orjson.loads(ran.stdout)}
    suite, wrong = read_suite(Sources(files), Bundle.from_files(files))
    assert not wrong
    interpreter = Interpreter.of([(module.path, module.text) for module in suite.modules], DATA)
    differ = [
        ACCEPTED[number].name
        for number in range(len(ACCEPTED))
        if (interpreter.ask(f"data.gateway.t{number}_test.test_a").value is True)
        is not opas[f"data.gateway.t{number}_test"]
    ]
    assert differ == []
    assert 0 < sum(opas.values()) < len(ACCEPTED)  # both answers occur, or nothing would be shown


DIFFERENT = (
    "a function beside it",
    "all data",
    "a builtin by a value",
    "a builtin by a builtin",
    "a builtin by a function of constants",
)


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_vetting_of_tests_refuses_really_differs(name: str, tmp_path: Path) -> None:
    """Given to both engines as it is: another answer, or one refuses what the other answers."""
    case = next(each for each in REFUSED if each.name == name and each.code == "policy.with_target")
    source = case.source("t_test")
    folder = tmp_path / "case"
    folder.mkdir()
    (folder / "p.rego").write_text(POLICY)
    (folder / "t.rego").write_text(source)
    (folder / "data.json").write_text(json.dumps(DATA))
    assert PROGRAM is not None
    command = [PROGRAM, "eval", "--format=json", "--data=.", "data.gateway.t_test.test_a"]
    answer = orjson.loads(subprocess.run(command, capture_output=True, check=False, cwd=folder).stdout)
    opas = "error" if "errors" in answer else bool(answer.get("result"))
    try:
        found = Interpreter.of([("p.rego", POLICY), ("t.rego", source)], DATA).ask("data.gateway.t_test.test_a")
        regorus = "error" if found.status > 1 else found.defined
    except RuntimeError:
        regorus = "error"
    assert regorus != opas


def test_engine_opa_is_opa_itself() -> None:
    """Its output and its exit code are passed on as they are."""
    Path("gateway/site_test.rego").write_text(SUITE.replace("step.nothing_here.x", "input.nothing_here"))
    command = [sys.executable, "-m", "gateway", "policy", "test", ".", "--engine", "opa", "--run", "test_twice"]
    environment = {**os.environ, "PYTHONPATH": str(opa.ROOT)}
    ran = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert ran.returncode == theirs("--run=test_twice").returncode == 2
    assert b"test_twice#01: FAIL" in ran.stdout


def test_check_with_opa_finds_what_schemas_say() -> None:
    """A field that no document has: regorus calls it undefined, `--engine opa` names it, with its line."""
    Path("gateway/step/site.rego").write_text(
        "package gateway.step\n\nimport rego.v1\n\n"
        'deny contains {"code": "a", "message": "m", "rule": "r"} if input.step.step_typ == "http"\n'
    )
    assert run("policy", "check", ".", "-o", "json").code == 0
    assert run("policy", "check", str(POLICIES), "--engine", "opa", "-o", "json").code == 0
    found = run("policy", "check", ".", "--engine", "opa", "-o", "json")
    assert found.code == 1
    [error] = found.json["findings"]
    assert (error["code"], error["field"], error["line"]) == ("opa.rego_type_error", "gateway/step/site.rego", 5)
    assert error["source"].endswith('if input.step.step_typ == "http"')
