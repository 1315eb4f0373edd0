"""policy check, test, eval, explain, input and schema: what they print, and their exit codes."""

import json
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.policy.authoring.laboratory import Laboratory
from gateway.policy.bundle_files import read_folder, write_archive
from tests.cli_runner import Ran, run
from tests.policy_documents import effect, step

POLICIES = Path(__file__).parents[4] / "policies"
MISSION = """version: "1.0"
name: nightly
steps:
  - {id: a, name: A, step_type: transform, parameters: {}}
  - {id: b, name: B, step_type: create_file, depends_on: [a], parameters: {path: out/x, content: "${steps.a.output}"}}
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle to change: the default one without its tests, which are run once, in TestTest."""
    folder = tmp_path / "policies"
    shutil.copytree(POLICIES, folder, ignore=shutil.ignore_patterns("*_test.rego"))
    return folder


@pytest.fixture
def denied(tmp_path: Path) -> Path:
    """An input that is refused."""
    path = tmp_path / "step.json"
    path.write_bytes(step("create_file", {"path": "protected/x", "content": ""}))
    return path


def rule(bundle: Path, text: str, name: str = "gateway/step/site.rego") -> None:
    """Add a file of rules."""
    (bundle / name).write_text(text)


class TestCheck:
    def test_the_default_bundle_is_in_order(self) -> None:
        """And has nothing odd: exit 0, with the digest that decisions will name."""
        done = run("policy", "check", POLICIES, "-o", "json")
        assert (done.code, done.json["ok"], done.json["findings"]) == (0, True, [])
        assert done.json["bundle"].startswith("sha256:")

    def test_an_archive_is_the_same_bundle(self, tmp_path: Path) -> None:
        """Packed or not, the digest is one."""
        archive = tmp_path / "b.tar.gz"
        archive.write_bytes(write_archive(read_folder(POLICIES)))
        packed, plain = (run("policy", "check", path, "-o", "json") for path in (archive, POLICIES))
        assert packed.code == 0
        assert packed.json["bundle"] == plain.json["bundle"]

    def test_everything_that_is_wrong_is_told_at_once(self, bundle: Path) -> None:
        """Each rule of each file has its finding: code, file, line, the line itself, and what to write instead."""
        rule(
            bundle,
            "package gateway.step\n\nimport rego.v1\n\n"
            'deny contains {"code": "a", "message": "m", "rule": "r"} if not startswith(input.x, "a")\n\n'
            'deny contains {"code": "b", "message": "m", "rule": "r"} if count(input.q) > 1\n',
        )
        rule(bundle, "package gateway.other\n\nimport rego.v1\n\nx if {\n", "gateway/other.rego")
        done = run("policy", "check", bundle, "-o", "json")
        assert (done.code, done.json["ok"]) == (1, False)
        found = {(each["field"], each["line"], each["code"]) for each in done.json["findings"]}
        assert found >= {
            ("gateway/step/site.rego", 5, "policy.not_undefined"),
            ("gateway/step/site.rego", 7, "policy.count"),
        }
        assert ("gateway/other.rego", "policy.syntax") in {(file, code) for file, _, code in found}
        first = next(each for each in done.json["findings"] if each["code"] == "policy.count")
        assert first["source"] == 'deny contains {"code": "b", "message": "m", "rule": "r"} if count(input.q) > 1'
        assert first["instead"] == "count([x | some x in input.x])"
        text = run("policy", "check", bundle, width=300)
        assert "gateway/step/site.rego:7: " in text.out
        assert "→ write: count([x | some x in input.x])" in text.out
        assert "3 errors: a gateway would not load this bundle" in text.out

    def test_what_the_host_reads_of_the_data_is_checked(self, bundle: Path) -> None:
        """Profile, secrets, retention, mask, approvals: what a gateway would refuse at its start is told, all of it."""
        data = json.loads((bundle / "data.json").read_text())
        config = data["gateway"]["config"]
        config["profiles"]["fast"]["wall_ms"] = "soon"
        config["secrets"] = {"TOKEN": {"effects": "all"}}
        config["retention"] = {"mission_days": 0}
        config["decision_log"] = {"mask": [{"op": "hide"}]}
        config["approvals"]["expires_seconds_max"] = 0
        (bundle / "data.json").write_text(json.dumps(data))
        done = run("policy", "check", bundle, "-o", "json")
        assert done.code == 1
        codes = {each["code"] for each in done.json["findings"]}
        assert codes >= {
            "policy.profile_invalid",
            "policy.secrets",
            "policy.retention",
            "policy.decision_log",
            "policy.approvals",
        }
        assert {each["field"] for each in done.json["findings"]} == {"data.json"}

    def test_an_entrypoint_that_nothing_decides_is_told(self, bundle: Path) -> None:
        """Every such request would be denied, so the gateway does not start with it."""
        shutil.rmtree(bundle / "gateway" / "rpc")
        done = run("policy", "check", bundle, "-o", "json")
        assert done.code == 1
        codes = [each["code"] for each in done.json["findings"] if each["severity"] == "error"]
        assert "policy.entrypoint_missing" in codes

    def test_what_no_decision_depends_on_is_a_warning(self, bundle: Path) -> None:
        """A rule that nothing reaches, an import that nothing names: told, and no reason to refuse."""
        rule(bundle, "package gateway.step\n\nimport rego.v1\n\nimport data.gateway.lib.windows\n\nlonely := 1\n")
        done = run("policy", "check", bundle, "-o", "json")
        assert (done.code, done.json["ok"]) == (0, True)
        found = [(each["severity"], each["code"], each["line"]) for each in done.json["findings"]]
        assert found == [("warning", "policy.unused_import", 5), ("warning", "policy.unreachable", 7)]
        assert "2 warnings" in run("policy", "check", bundle).out

    def test_there_has_to_be_a_bundle(self, tmp_path: Path) -> None:
        """A folder that is not there is a finding, not a crash."""
        done = run("policy", "check", tmp_path / "nothing", "-o", "json")
        assert (done.code, done.json["findings"][0]["code"]) == (1, "policy.no_bundle")

    def test_without_opa_its_engine_is_a_usage_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """And says where to get it."""
        monkeypatch.setattr("shutil.which", lambda _name: None)
        done = run("policy", "check", POLICIES, "--engine", "opa", "-o", "json")
        assert (done.code, done.json["errors"][0]["code"]) == (2, "policy.no_opa")


TESTS = """package gateway.site_test

import rego.v1

import data.gateway.step

test_passes if true

test_fails if {
	1 == 1
	step.decision.allow with input as {}
}

todo_test_later if true

test_conflict := x if some x in [1, 2]
"""


COVERING = """package gateway.site_test

import rego.v1

import data.gateway.step

test_nothing_is_denied if not step.decision.allow with input as {}
"""


class TestTest:
    def test_all_pass(self) -> None:
        """As `opa test` says it, and exit 0."""
        done = run("policy", "test", POLICIES)
        assert done.code == 0
        total = done.out.split("/")[1].strip()
        assert done.out == f"PASS: {total}/{total}\n"

    def test_what_does_not_pass_is_told_with_its_place(self, bundle: Path) -> None:
        """Failed, skipped, in error: each at file and line, the counts, and exit 2."""
        rule(bundle, TESTS, "gateway/site_test.rego")
        done = run("policy", "test", bundle, "--run", "site_test", width=300)
        assert done.code == 2
        lines = [line.partition(" (")[0] for line in done.out.splitlines()]
        root = bundle.as_posix()
        assert lines == [
            f"{root}/gateway/site_test.rego:9:",
            "data.gateway.site_test.test_fails: FAIL",
            f"{root}/gateway/site_test.rego:14:",
            "data.gateway.site_test.todo_test_later: SKIPPED",
            f"{root}/gateway/site_test.rego:16:",
            "data.gateway.site_test.test_conflict: ERROR",
            "  eval_conflict_error: rules must not produce multiple outputs",
            "-" * 80,
            "PASS: 1/4",
            "FAIL: 1/4",
            "SKIPPED: 1/4",
            "ERROR: 1/4",
        ]

    def test_verbose_shows_the_statement_that_does_not_hold(self, bundle: Path) -> None:
        """With its line, as the author wrote it."""
        rule(bundle, TESTS, "gateway/site_test.rego")
        done = run("policy", "test", bundle, "-v", "--run", "test_fails", width=300)
        told = done.out.partition("FAILURES")[2]
        assert f"{bundle.as_posix()}/gateway/site_test.rego:11:\n    step.decision.allow with input as {{}}" in told

    def test_json_has_the_fields_of_opa(self, bundle: Path) -> None:
        """Location, package, name, what became of it, and the duration."""
        rule(bundle, TESTS, "gateway/site_test.rego")
        done = run("policy", "test", bundle, "--format", "json", "--run", "site_test")
        found = {each.pop("name"): each for each in orjson.loads(done.out)}
        assert all(each.pop("duration") >= 0 for each in found.values())
        place = {"file": f"{bundle.as_posix()}/gateway/site_test.rego", "col": 1}
        package = {"package": "data.gateway.site_test"}
        assert found["test_passes"] == {"location": {**place, "row": 7}, **package}
        assert found["test_fails"] == {"location": {**place, "row": 9}, **package, "fail": True}
        assert found["todo_test_later"] == {"location": {**place, "row": 14}, **package, "skip": True}
        assert found["test_conflict"]["error"]["code"] == "eval_conflict_error"
        assert found["test_conflict"]["error"]["location"]["row"] == 16

    def test_skipped_tests_may_be_no_failure(self, bundle: Path) -> None:
        """Only if that is asked for, as with OPA."""
        rule(bundle, TESTS, "gateway/site_test.rego")
        codes = [run("policy", "test", bundle, "-r", "later", *options).code for options in ((), ("-z",))]
        assert codes == [2, 0]

    def test_coverage_is_a_table_or_opas_report(self, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Percentages by file, and the rows that no test reaches; `--threshold` turns them into an exit code."""
        monkeypatch.chdir(bundle.parent)
        rule(bundle, COVERING, "gateway/site_test.rego")
        done = run("policy", "test", "policies", "--coverage", width=200)
        assert done.code == 0
        assert "policies/gateway/step/step.rego" in done.out
        report = orjson.loads(run("policy", "test", "policies", "--coverage", "--format", "json").out)
        assert 0 < report["coverage"] < 100
        assert report.keys() == {"files", "covered_lines", "not_covered_lines", "coverage"}
        assert f"coverage: {report['coverage']:.2f} %" in done.out
        over = run("policy", "test", "policies", "--threshold", "100")
        assert over.code == 2
        assert over.err == f"Code coverage threshold not met: got {report['coverage']:.2f} instead of 100.00\n"
        under = str(report["coverage"] / 2)
        assert run("policy", "test", "policies", "--threshold", under, "--format", "json").code == 0

    def test_coverage_of_failing_tests_is_not_told(self, bundle: Path) -> None:
        """As with OPA: exit 1, and the failures instead of a report."""
        rule(bundle, TESTS, "gateway/site_test.rego")
        done = run("policy", "test", bundle, "--coverage", "--format", "json")
        assert done.code == 1
        assert "test_fails: FAIL" in done.out
        assert "covered" not in done.out

    def test_a_test_that_does_not_end_is_ended(self, bundle: Path) -> None:
        """At its deadline, as an error of its own; the tests after it run all the same."""
        names = ", ".join(f"some x{i} in xs" for i in range(9)).replace(",", ";")
        body = f"test_a_loop if {{\n\txs := numbers\n\tcount([1 | {names}; x0 > 1000000]) == 0\n}}\n\ntest_b if true\n"
        rule(
            bundle,
            f"package gateway.site_test\n\nimport rego.v1\n\nnumbers := [{', '.join(map(str, range(20)))}]\n\n{body}",
            "gateway/site_test.rego",
        )
        done = run("policy", "test", bundle, "-r", "site_test", "--timeout", "0.5", "--format", "json")
        assert done.code == 2
        first, second = orjson.loads(done.out)
        assert (first["name"], first["error"]["code"]) == ("test_a_loop", "eval_cancel_error")
        assert second.keys() == {"location", "package", "name", "duration"}

    def test_tests_that_are_not_accepted_are_not_run(self, bundle: Path) -> None:
        """Exit 1, with each finding, and how OPA would run them."""
        rule(
            bundle,
            "package gateway.site_test\n\nimport rego.v1\n\ntest_a if time.now_ns() > 0\n",
            "gateway/site_test.rego",
        )
        done = run("policy", "test", bundle, width=300)
        assert (done.code, done.out) == (1, "")
        assert "gateway/site_test.rego:5: " in done.err
        assert "--engine opa" in done.err

    @pytest.mark.parametrize("options", [("--run", "("), ("--engine", "opa")])
    def test_what_cannot_be_run_is_exit_1(self, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
        """No regular expression; no OPA on the PATH."""
        monkeypatch.setattr("shutil.which", lambda _name: None)
        assert run("policy", "test", POLICIES, *options).code == 1

    def test_a_bundle_that_is_refused_is_exit_1(self, bundle: Path) -> None:
        """Its findings are those of `policy check`."""
        rule(bundle, "package gateway.step\n\nx := 1\n\ny := x / 2\n")
        done = run("policy", "test", bundle, width=300)
        assert done.code == 1
        assert "gateway/step/site.rego:5: " in done.err


class TestEval:
    def test_a_refusal_is_exit_3_with_reasons_and_rules(self, denied: Path) -> None:
        """As text for people."""
        done = run("policy", "eval", "step", "--bundle", POLICIES, "--input", denied, width=300)
        assert done.code == 3
        assert done.out.startswith("✗ refused  step\n")
        assert "[step.path_closed]\n    data.gateway.step.deny" in done.out

    def test_json_is_the_decision(self, denied: Path) -> None:
        """For programs, with the bundle that it came from."""
        done = run("policy", "eval", "step", "-b", POLICIES, "-i", denied, "-o", "json")
        assert (done.code, done.json["allow"], done.json["entrypoint"]) == (3, False, "step")
        assert [reason["code"] for reason in done.json["reasons"]] == ["step.path_closed"]
        assert done.json["bundle"] == run("policy", "check", POLICIES, "-o", "json").json["bundle"]

    def test_what_a_yes_is_tied_to_is_told(self, bundle: Path) -> None:
        """Each obligation, as it was asked for."""
        rules = bundle / "gateway" / "step" / "step.rego"
        told = '"require_approval": {"approvers": ["lead", "cfo"]}, "redact": ["/output/a"], "labels": {"risk": "low"}'
        rules.write_text(
            rules.read_text().replace('decision := {"allow": allow,', f'decision := {{"allow": allow, {told},')
        )
        done = run("policy", "eval", "step", "-b", bundle, "-i", "-", stdin=step("transform", {}), width=200)
        assert done.code == 0
        lines = [line.split(maxsplit=1) for line in done.out.splitlines()[1:-1]]
        assert lines == [
            ["require_approval", "of a role of lead, cfo"],
            ["redact", "/output/a"],
            ["label", "risk        low"],
        ]

    def test_an_input_may_come_from_standard_input(self) -> None:
        """And is allowed with exit 0."""
        done = run("policy", "eval", "step", "-b", POLICIES, "-i", "-", "-o", "json", stdin=step("transform", {}))
        assert (done.code, done.json["allow"]) == (0, True)

    def test_a_mission_is_made_into_an_input(self, tmp_path: Path) -> None:
        """The one that a gateway would ask about; `policy input` prints it, and it fits its schema."""
        (tmp_path / "m.yaml").write_text(MISSION)
        done = run("policy", "eval", "mission", "--mission", tmp_path / "m.yaml", "-o", "json")
        assert (done.code, done.json["allow"]) == (0, True)
        viewer = run("policy", "eval", "mission", "--mission", tmp_path / "m.yaml", "--role", "viewer", "-o", "json")
        assert viewer.code == 3
        made = run("policy", "input", "mission", tmp_path / "m.yaml")
        assert made.code == 0
        again = run("policy", "eval", "mission", "-i", "-", "-o", "json", stdin=made.out.encode())
        assert (again.code, again.json) == (0, done.json)

    def test_any_rule_may_be_asked_for(self, denied: Path) -> None:
        """Its value is printed; undefined is exit 1; data too has a value."""
        asked = ("-b", POLICIES, "-i", denied, "-o", "json")
        assert run("policy", "eval", "data.gateway.step.kind", *asked).json["value"] == "create_file"
        assert run("policy", "eval", "data.gateway.config.retention", "-b", POLICIES, "-o", "json").json["defined"]
        missing = run("policy", "eval", "data.gateway.step.method", *asked)
        assert (missing.code, missing.json["defined"]) == (1, False)
        assert run("policy", "eval", "data.gateway.step.method", "-b", POLICIES, "-i", denied).out.startswith(
            "undefined"
        )

    def test_a_mistyped_field_is_told_and_not_silently_undefined(self, tmp_path: Path) -> None:
        """Each field with its rule, exit 2; `--unchecked` evaluates it all the same."""
        document = orjson.loads(effect("delay", "timer.sleep", {"ms": 1}))
        document["step"]["step_typ"] = document["step"].pop("step_type")
        path = tmp_path / "e.json"
        path.write_bytes(orjson.dumps(document))
        done = run("policy", "eval", "effect", "-b", POLICIES, "-i", path, "-o", "json")
        assert done.code == 2
        assert {(each["code"], each["field"]) for each in done.json["errors"]} == {
            ("policy.input_required", "step.step_type"),
            ("policy.input_additional_properties", "step.step_typ"),
        }
        text = run("policy", "eval", "effect", "-b", POLICIES, "-i", path, width=200)
        assert "missiongate policy schema effect" in text.err
        assert run("policy", "eval", "effect", "-b", POLICIES, "-i", path, "--unchecked").code == 3

    @pytest.mark.parametrize(
        ("arguments", "stdin", "code"),
        [
            (("step",), b"", "policy.input"),
            (("step", "-i", "-", "--mission", "m.yaml"), b"", "policy.input"),
            (("step", "--mission", "m.yaml"), b"", "policy.input"),
            (("steps", "-i", "-"), b"{}", "policy.entrypoint"),
            (("data.gateway.step", "-i", "-", "--unchecked"), b"{}", "policy.entrypoint"),
            (("step", "-i", "nothing.json"), b"", "document.unreadable"),
            (("step", "-i", "-"), b"{", "policy.input_not_json"),
            (("step", "-i", "-"), b'{"a": 1, "a": 2}', "policy.input_not_json"),
            (("step", "-i", "-"), b"NaN", "policy.input_not_json"),
            (("step", "-i", "-"), b"[" * 100_000, "policy.input_not_json"),
        ],
    )
    def test_usage(self, arguments: tuple[str, ...], stdin: bytes, code: str) -> None:
        """What cannot be asked is exit 2, with a code."""
        done = run("policy", "eval", *arguments, "-b", POLICIES, "-o", "json", stdin=stdin)
        assert (done.code, done.json["errors"][0]["code"]) == (2, code)

    def test_a_rule_that_does_not_end_is_refused(self, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The worker is ended at the deadline; the answer is a no. It gathers nothing, or memory might end it first."""
        monkeypatch.setattr("gateway.cli.policy.evaluate.DEADLINE_MS", 300)
        names = "; ".join(f"some x{i} in xs" for i in range(9))
        rule(
            bundle,
            "package gateway.step\n\nimport rego.v1\n\n"
            'deny contains {"code": "a", "message": "m", "rule": "r"} if {\n'
            f"\txs := [{', '.join(map(str, range(20)))}]\n\tcount([1 | {names}; x0 > 100]) == 0\n}}\n",
        )
        done = run("policy", "eval", "step", "-b", bundle, "-i", "-", "-o", "json", stdin=step("transform", {}))
        assert (done.code, done.json["reasons"][0]["code"]) == (3, "policy.failed")


class TestExplain:
    def test_it_says_why_and_what_would_be_allowed(self, denied: Path) -> None:
        """The reason with its rule's source, the statement that fails, and verified changes under their titles."""
        done = run("policy", "explain", "step", "-b", POLICIES, "-i", denied, width=300)
        assert done.code == 3
        for part in (
            "✗ refused  step",
            '"code": "step.path_closed"',
            "gateway.step.allow  false by default",
            "closing == set()",
            'closing = ["protected/"]',
            "  another input\n",
            '  ✓ input.parameters.path = "x"',
            "  other data, in data.json\n",
            '  ✓ data.gateway.config.files.write.closed_prefixes: take out "protected/"',
        ):
            assert part in done.out

    def test_json_has_the_same(self, denied: Path) -> None:
        """For programs: the decision, reasons with places, the tree, and the changes one by one."""
        done = run("policy", "explain", "step", "-b", POLICIES, "-i", denied, "-o", "json")
        told: Any = done.json
        assert done.code == 3
        assert told.keys() == {
            "entrypoint",
            "decision",
            "reasons",
            "needs",
            "would_be_allowed",
            "complete",
            "evaluations",
        }
        assert told["reasons"][0]["file"] == "gateway/step/step.rego"
        changes = [flip["changes"][0] for flip in told["would_be_allowed"]]
        assert {"target": "input", "path": ["parameters", "path"], "action": "set", "value": "x"} in changes

    def test_what_is_allowed_is_exit_0(self) -> None:
        """With nothing to explain."""
        done = run("policy", "explain", "step", "-b", POLICIES, "-i", "-", stdin=step("transform", {}))
        assert done.code == 0
        assert "would be allowed" not in done.out

    def test_a_policy_that_does_not_end_is_ended(self, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The worker is killed behind the deadline: what is told is a deny, and that nothing more is known."""
        monkeypatch.setattr("gateway.policy.authoring.laboratory.DEADLINE_MS", 200)
        monkeypatch.setattr(Laboratory.explain, "__kwdefaults__", {"deadline_ms": 200})
        names = "; ".join(f"some x{i} in xs" for i in range(9))
        rule(
            bundle,
            "package gateway.step\n\nimport rego.v1\n\n"
            'deny contains {"code": "a", "message": "m", "rule": "r"} if {\n'
            f"\txs := [{', '.join(map(str, range(20)))}]\n\tcount([1 | {names}; x0 > 1000000]) == 0\n}}\n",
        )
        done = run("policy", "explain", "step", "-b", bundle, "-i", "-", "-o", "json", stdin=step("transform", {}))
        told: Any = done.json
        assert (done.code, told["complete"], told["needs"]) == (3, False, None)
        assert [reason["code"] for reason in told["decision"]["reasons"]] == ["policy.timeout"]

    def test_only_decisions_are_explained(self) -> None:
        """Another rule is a usage error."""
        done = run("policy", "explain", "data.gateway.step.kind", "-b", POLICIES, "-i", "-", "-o", "json", stdin=b"{}")
        assert (done.code, done.json["errors"][0]["code"]) == (2, "policy.entrypoint")


class TestSchema:
    def test_each_is_printed(self) -> None:
        """Without a name, which there are; with one, the schema itself."""
        names = run("policy", "schema", "-o", "json").json["schemas"]
        assert set(names) == {"rpc", "mission", "step", "effect", "decision"}
        for name in names:
            printed = run("policy", "schema", name)
            assert orjson.loads(printed.out) == orjson.loads((POLICIES / "schemas" / f"{name}.json").read_bytes())

    def test_another_name_is_a_usage_error(self) -> None:
        """With those that there are."""
        done: Ran = run("policy", "schema", "steps", "-o", "json")
        assert (done.code, done.json["errors"][0]["code"]) == (2, "policy.schema")
