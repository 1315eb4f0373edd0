"""Data of the network reaches no program: real plans, through admission, and the decisions on step and effect."""

import json
from typing import Any

import pytest

from engine.clock import SystemClock
from gateway.admission import Admission
from gateway.config import Config
from gateway.identity import Principal
from gateway.policy import document
from gateway.policy.bundle import Bundle
from gateway.policy.regorus_engine import RegorusEngine
from gateway.rules import bundled_policies, local_admission
from gateway.stages import SanitizedMission

ANN = Principal(subject="ann", tenant="red", roles=("submitter",))


def step(step_id: str, step_type: str, *needs: str, **more: Any) -> dict[str, Any]:
    """Return a step; what is no field of one is a parameter."""
    known = {key: more.pop(key) for key in ("when", "foreach") if key in more}
    return {
        "id": step_id,
        "name": step_id,
        "step_type": step_type,
        "depends_on": list(needs),
        "parameters": more,
        **known,
    }


def mission(*steps: dict[str, Any], **more: Any) -> bytes:
    return json.dumps(
        {"version": "1.0", "name": "m", "config": {"security_level": "relaxed"}, "steps": list(steps), **more}
    ).encode()


GET = step("get", "http", url="http://example.com/list")
SAVE = step("save", "create_file", "get", path="in.txt", content="${steps.get.output.body}")
READ = step("read", "read_file", "save", path="other.txt")
SORT = {"argv": ["sort", "-n"]}

CLOSED = {
    "as an argument": (GET, step("run", "command", "get", argv=["sort", "${steps.get.output.body}"])),
    "as its input": (GET, step("run", "command", "get", **SORT, stdin="${steps.get.output.body}")),
    "by a step between": (
        GET,
        step("turn", "transform", "get", input="${steps.get.output.body}"),
        step("run", "command", "turn", **SORT, stdin="${steps.turn.output}"),
    ),
    "through a file that a step reads": (
        GET,
        SAVE,
        READ,
        step("run", "command", "read", argv=["sort", "${steps.read.output.content}"]),
    ),
    "through a file that the program finds": (GET, SAVE, step("run", "command", **SORT)),
    "through a file that is read and written again": (
        GET,
        SAVE,
        READ,
        step("copy", "create_file", "read", path="copy.txt", content="${steps.read.output.content}"),
        step("run", "command", "copy", **SORT),
    ),
    "by deciding whether it runs": (
        GET,
        step("run", "command", "get", **SORT, when={"eq": ["${steps.get.output.status}", 200]}),
    ),
    "by deciding how often it runs": (
        GET,
        step("run", "command", "get", **SORT, foreach={"items": "${steps.get.output.body}"}),
    ),
    "by a mission that may have asked": (
        step("part", "mission", mission={"version": "1.0", "name": "p", "steps": [GET]}),
        step("run", "command", "part", **SORT, stdin="${steps.part.output}"),
    ),
}
OPEN = {
    "nothing": (step("run", "command", **SORT),),
    "a client's variable": (step("run", "command", argv=["sort", "${variables.name}"]),),
    "a file of the mission's own": (
        step("save", "create_file", path="in.txt", content="3\n1\n2\n"),
        step("read", "read_file", "save", path="in.txt"),
        step("run", "command", "read", argv=["sort", "${steps.read.output.content}"]),
    ),
    "beside a request whose answer goes nowhere": (GET, step("run", "command", **SORT)),
    "before a request": (
        step("run", "command", **SORT),
        step("put", "http", "run", url="http://example.com/", method="POST", body="${steps.run.output.stdout}"),
    ),
}


@pytest.fixture(scope="module")
def admission() -> Admission:
    return local_admission(None, Config())


@pytest.fixture(scope="module")
def engine() -> RegorusEngine:
    return RegorusEngine(Bundle.load(bundled_policies()))


def form(steps: tuple[dict[str, Any], ...]) -> bytes:
    return mission(*steps, variables={"name": "in.txt"})


@pytest.mark.parametrize("steps", CLOSED.values(), ids=CLOSED)
async def test_a_plan_that_would_bring_it_there_is_refused(
    admission: Admission, steps: tuple[dict[str, Any], ...]
) -> None:
    """Before anything runs: the reason names the step, the label and the datum."""
    decision = await admission.ask(admission.sanitize(form(steps)), ANN)
    assert decision.allow is False
    assert {reason.code for reason in decision.reasons} == {"mission.taint"}
    assert {reason.message.split(";")[0] for reason in decision.reasons} == {
        'step "run": steps of type "command" may not take data from: network',
        'step "run": steps of type "command" may ask for command.run, which may not take data from: network',
    }


@pytest.mark.parametrize("steps", OPEN.values(), ids=OPEN)
async def test_other_data_may_go_there(admission: Admission, steps: tuple[dict[str, Any], ...]) -> None:
    """Variables, files that hold nothing foreign, and a request whose answer nobody is given."""
    decision = await admission.ask(admission.sanitize(form(steps)), ANN)
    assert (decision.allow, decision.reasons) == (True, ())


def asked(sanitized: SanitizedMission, entrypoint: str) -> bytes:
    """Return the document of the step `run`, or of its effect, with the labels that the host has computed for it."""
    plan = sanitized.plan
    at = plan.graph.index["run"]
    facts: dict[str, Any] = {
        "profile": "semantic",
        "parameters": SORT,
        "taint": sanitized.taint[at],
        "security_level": "relaxed",
        "now": SystemClock().now(),
    }
    if entrypoint == "step":
        return document.step_document(ANN, "m1", plan.mission, plan.mission.steps[at], **facts)
    args = {**SORT, "command": "sort"}
    return document.effect_document(
        ANN, "m1", plan.mission, plan.mission.steps[at], **facts, op="command.run", index=0, args=args
    )


@pytest.mark.parametrize("steps", CLOSED.values(), ids=CLOSED)
async def test_step_and_effect_would_be_refused_as_well(
    admission: Admission, engine: RegorusEngine, steps: tuple[dict[str, Any], ...]
) -> None:
    """A plan that was admitted under another bundle stops at its step, and a step under another at its effect."""
    sanitized = admission.sanitize(form(steps))
    for entrypoint in ("step", "effect"):
        decision = await engine.decide(entrypoint, asked(sanitized, entrypoint))  # type: ignore[arg-type]
        assert f"{entrypoint}.taint" in {reason.code for reason in decision.reasons}


async def test_a_part_has_what_its_whole_has_put_into_it(admission: Admission) -> None:
    """A mission that is run with an answer in it: none of its steps may run a program, whatever they refer to."""
    filled = step("run", "command", argv=["sort", "${steps.get.output.body}"])
    nested = {"version": "1.0", "name": "p", "steps": [filled]}
    outer = admission.sanitize(mission(GET, step("part", "mission", "get", mission=nested)))
    brought = outer.brought_to("part")
    inner = admission.sanitize(mission(step("run", "command", **SORT)))
    assert (await admission.ask(inner, ANN)).allow is True
    decision = await admission.ask(admission.as_part(inner, brought, "relaxed"), ANN)
    assert {reason.code for reason in decision.reasons} == {"mission.taint"}
