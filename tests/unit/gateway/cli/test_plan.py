"""plan, without a gateway and with one."""

from pathlib import Path

import pytest

from gateway.cli.plan_view import condition_text
from gateway.config import CONFIG_NAME
from gateway.demo.scenario import prepare
from gateway.home import make_home
from gateway.missions.views import PlanPreview
from gateway.policy.decision import Decision
from tests.cli_runner import run
from tests.fakes import DIGEST, FakeDesk
from tests.rpc_server import served_aside

GOOD = b"""\
version: "1.0"
name: two
steps:
  - {id: a, name: A, step_type: transform, parameters: {}}
  - {id: b, name: B, step_type: transform, depends_on: [a], parameters: {}}
"""
TRAVERSAL = b"""\
version: "1.0"
name: out
steps:
  - id: a
    name: A
    step_type: read_file
    parameters:
      path: ../../etc/passwd
"""
PROTECTED = TRAVERSAL.replace(b"read_file", b"create_file").replace(
    b"../../etc/passwd", b"protected/x\n      content: y"
)


def test_a_plan_is_mission_levels_and_decisions() -> None:
    """JSON: the canonical mission, the step ids by level, what each entry point said; exit 0."""
    done = run("plan", "-", "-o", "json", stdin=GOOD)
    assert done.code == 0
    plan = done.json
    assert plan.keys() == {"mission", "digest", "levels", "decisions"}
    assert plan["levels"] == [["a"], ["b"]]
    assert plan["mission"]["steps"][1]["depends_on"] == ["a"]
    assert [(d["entrypoint"], d["allow"]) for d in plan["decisions"]] == [("mission", True)]


@pytest.mark.parametrize(
    ("document", "code", "error", "field", "line"),
    [
        (b"a: }", 2, "document.syntax", "", 1),
        (b"", 2, None, "", None),
        (
            GOOD.replace(b"depends_on: [a]", b"depends_on: [b]"),
            2,
            "mission.self_dependency",
            "steps[1].depends_on[0]",
            5,
        ),
        (GOOD + b"extra: 1\n", 2, "mission.unknown_field", "extra", 6),
        (b"x" * (4 * 1024 * 1024 + 1), 3, "document.too_large", "", 1),
        (TRAVERSAL, 3, "sanitize.path.traversal", "steps[0].parameters.path", 8),
    ],
)
def test_a_bad_mission_names_the_rule_the_field_and_the_line(
    document: bytes, code: int, error: str | None, field: str, line: int | None
) -> None:
    """2 where it is no mission, 3 where a well-formed one is refused; `errors` says where."""
    done = run("plan", "-", "-o", "json", stdin=document)
    assert done.code == code
    first = done.json["errors"][0]
    assert first.keys() == {"code", "message", "field", "line"}
    if error is not None:
        assert (first["code"], first["field"], first["line"]) == (error, field, line)


def test_a_plan_that_policy_denies_is_shown_with_the_reasons() -> None:
    """Exit 3, the plan and the errors: what a role without steps may not do."""
    done = run("plan", "-", "--role", "viewer", "-o", "json", stdin=GOOD)
    assert done.code == 3
    plan = done.json
    assert plan["levels"] == [["a"], ["b"]]
    assert [d["allow"] for d in plan["decisions"]] == [False]
    assert plan["errors"]
    assert all(e.keys() == {"code", "message", "field", "line"} for e in plan["errors"])
    text = run("plan", "-", "--role", "viewer", stdin=GOOD)
    assert "policy, mission: denied" in text.out
    assert text.err.startswith("✗ ")


def test_people_see_levels() -> None:
    """Name, digest, a line a level, the verdict; a wide level is counted instead of listed."""
    wide = b'version: "1.0"\nname: wide\nsteps:\n' + b"".join(
        b"  - {id: s%d, name: S, step_type: transform, parameters: {}}\n" % i for i in range(20)
    )
    out = run("plan", "-", stdin=wide).out
    assert "level 1  s0 (transform)" in out
    assert "and 8 more" in out
    assert out.endswith("policy, mission: allowed  (steps and effects are decided when they run)\n")


def test_a_gateways_home_gives_limits_and_policy(tmp_path: Path) -> None:
    """The same mission is refused by a stricter home; a home without a configuration is an error, not a default."""
    make_home(tmp_path / "home")
    with (tmp_path / "home" / CONFIG_NAME).open("a") as file:
        file.write("\n[limits]\nsteps_max = 1\n")
    assert run("plan", "-", stdin=GOOD).code == 0
    done = run("plan", "-", "--home", tmp_path / "home", "-o", "json", stdin=GOOD)
    assert done.code == 3
    assert done.json["errors"][0]["code"] == "mission.too_many_steps"
    missing = run("plan", "-", "--home", tmp_path, "-o", "json", stdin=GOOD)
    assert missing.code == 2
    assert missing.json["errors"][0]["code"] == "config.unreadable"


def test_a_homes_own_step_kinds_are_known(tmp_path: Path) -> None:
    """A mission that the gateway would run can be planned beside it, hooks of the site included."""
    prepare(tmp_path / "home", service_port=1)  # the demonstration's home, with two hooks of its own
    mission = GOOD.replace(b"transform, parameters", b"spin, parameters")
    assert run("plan", "-", "--role", "admin", stdin=mission).code == 2
    assert run("plan", "-", "--role", "admin", "--home", str(tmp_path / "home"), stdin=mission).code == 0


def test_a_broken_bundle_is_usage(tmp_path: Path) -> None:
    """A policy with a syntax error: 2, naming file and line."""
    home = make_home(tmp_path / "home").home
    (home / "policies/gateway/broken.rego").write_text("package gateway.broken\n\nallow if {\n")
    done = run("plan", "-", "--home", home, "-o", "json", stdin=GOOD)
    assert done.code == 2
    assert "broken.rego:" in done.json["errors"][0]["message"]


def test_a_gateway_is_asked_where_one_is_named() -> None:
    """With --server, its answer is printed in the same shape, and its no is a no."""
    desk = FakeDesk()
    with served_aside(desk) as address:
        plan = run("plan", "-", "--server", address, "-o", "json", stdin=GOOD, env={"MISSIONGATE_TOKEN": "ann-token"})
        assert plan.code == 0
        assert plan.json["levels"] == [["a", "b"], ["c"]]
        assert plan.json["mission"] == {"name": "é"}
    assert desk.forms == [GOOD]
    assert run("plan", "-", "--server", "127.0.0.1:1", stdin=GOOD).code == 4


def test_a_no_without_a_reason_is_still_explained() -> None:
    """Exit 3 with one error of the gateway's own."""

    class Denying(FakeDesk):
        async def plan(self, principal: object, form: object) -> PlanPreview:
            del principal, form
            decision = Decision(allow=False, bundle=DIGEST)
            return PlanPreview(mission={"name": "x", "steps": []}, digest=DIGEST, levels=(), decision=decision)

    with served_aside(Denying()) as address:
        env = {"MISSIONGATE_TOKEN": "ann-token"}
        done = run("plan", "-", "--server", address, "-o", "json", stdin=GOOD, env=env)
    assert done.code == 3
    assert [e["code"] for e in done.json["errors"]] == ["policy.denied"]


SPECIAL = b"""\
version: "1.0"
name: nightly
config:
  strategy: levels
  priority: 7
  concurrency_key: nightly
  fail_fast: false
  supervision: {strategy: one_for_all, max_restarts: 3, within_seconds: 60}
variables: {rows: [1, 2, 3]}
steps:
  - id: fetch
    name: F
    step_type: transform
    retry: {max_attempts: 5, backoff: exponential, base_ms: 200, jitter: true}
    timeout_seconds: 10
    parameters: {}
  - id: each
    name: E
    step_type: transform
    depends_on: [fetch]
    foreach: {items: "${variables.rows}", parallel_limit: 2}
    continue_on_error: true
    parameters: {input: "${item}"}
  - id: some
    name: S
    step_type: transform
    depends_on: [fetch]
    when: {exists: ["${steps.fetch.output.n}"]}
    parameters: {}
"""


def test_people_see_what_is_special() -> None:
    """How the mission is executed, and under a level each step with a condition, a fan-out, retries or limits."""
    out = run("plan", "-", stdin=SPECIAL).out
    assert (
        "strategy levels · goes on after a failure · priority 7 · one at a time of key nightly"
        " · crashes restart one_for_all, 3 in 60 s\n"
    ) in out
    assert "         fetch  tried 5 times, exponential from 200 ms with jitter · within 10 s\n" in out
    assert "         each  for each of ${variables.rows}, 2 at a time · may fail\n" in out
    assert "         some  only if ${steps.fetch.output.n} exists\n" in out


def test_a_plain_mission_has_no_line_too_many() -> None:
    """What is the default is not told."""
    assert len(run("plan", "-", stdin=GOOD).out.splitlines()) == 4


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        ({"eq": ["${variables.x}", "a"]}, '${variables.x} = "a"'),
        ({"ne": ["${variables.x}", None]}, "${variables.x} ≠ null"),
        ({"in": ["${variables.x}", [1, 2]]}, "${variables.x} in [1,2]"),
        ({"not": {"gt": ["${variables.x}", 1.5]}}, "not (${variables.x} > 1.5)"),
        (
            {"any": [{"exists": ["${item}"]}, {"all": [{"lt": ["${item}", 1]}, {"eq": ["${item}", True]}]}]},
            "${item} exists or (${item} < 1 and ${item} = true)",
        ),
        ({"unknown": 1}, '{"unknown":1}'),
        ({}, "{}"),
    ],
)
def test_conditions_read_as_people_write_them(condition: dict[str, object], text: str) -> None:
    """Every operator; what a later gateway may know is shown as it is."""
    assert condition_text(condition) == text


def test_special_steps_of_a_wide_level_are_counted() -> None:
    """A level of thousands of fan-outs does not fill the screen."""
    step = b"  - {id: s%d, name: S, step_type: transform, idempotent: true, parameters: {}}\n"
    wide = b'version: "1.0"\nname: wide\nsteps:\n' + b"".join(step % i for i in range(20))
    out = run("plan", "-", stdin=wide).out
    assert out.count("idempotent") == 12
    assert "and 8 more such steps" in out


DRAFT = b"""\
version: "1.0"
name: ""
steps:
  - id: a
    step_type: create_file
    parameters: {path: "../x"}
"""


def test_a_partial_plan_tells_what_is_wrong_from_what_is_to_come() -> None:
    """Exit 3 where something is wrong whatever is added, 0 where things are only missing; both sorts are printed."""
    done = run("plan", "-", "--partial", stdin=DRAFT)
    assert done.code == 3
    wrong, _, missing = done.out.partition("not there yet (3)")
    assert "wrong, whatever is added (1)" in wrong
    assert "sanitize.path.traversal" in wrong
    assert [line.split(": ")[1] for line in missing.splitlines() if line] == [
        "name",
        "steps[0].name",
        "steps[0].parameters.content",
    ]
    mended = run("plan", "-", "--partial", "-o", "json", stdin=DRAFT.replace(b"../x", b"x"))
    assert mended.code == 0
    assert (mended.json["complete"], mended.json["wrong"]) == (False, [])
    assert [finding["line"] for finding in mended.json["missing"]] == [1, 4, 6]
    whole = run("plan", "-", "--partial", "-o", "json", stdin=GOOD)
    assert (whole.code, whole.json) == (0, {"complete": True, "wrong": [], "missing": []})


def test_a_partial_plan_asks_a_gateway_where_one_is_named() -> None:
    """Its kinds are the gateway's; the answer is printed as one of here would be."""
    desk = FakeDesk()
    with served_aside(desk) as address:
        env = {"MISSIONGATE_TOKEN": "ann-token"}
        done = run("plan", "-", "--partial", "--server", address, "-o", "json", stdin=DRAFT, env=env)
    assert done.code == 0
    assert desk.forms == [DRAFT]
    [missing] = done.json["missing"]
    assert (missing["field"], missing["line"], missing["column"]) == ("steps[0].parameters.url", 3, None)
