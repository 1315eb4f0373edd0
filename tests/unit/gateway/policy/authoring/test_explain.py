"""Explanations: each claim of one is held against the rules themselves."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import pytest

from engine.clock import Clock, SystemClock
from gateway.policy.authoring.edits import Change, changed
from gateway.policy.authoring.explain import Explanation, explain
from gateway.policy.authoring.interpreter import Interpreter
from gateway.policy.bundle import Bundle
from gateway.policy.engine import Entrypoint, rule_of
from gateway.policy.vetting import Module
from tests.policy_documents import effect, mission, rpc, step

Explained: TypeAlias = Callable[[Entrypoint, bytes], Explanation]
POLICIES = Path(__file__).parents[5] / "policies"
CLOSED = step("create_file", {"path": "protected/x", "content": ""})
REQUEST = effect("http", "http.request", {"method": "GET", "url": "http://h/", "host": "h", "port": 80})


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(POLICIES)


class FastClock:
    """A clock on which a second passes whenever somebody looks."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._seconds, UTC)

    def monotonic(self) -> float:
        self._seconds += 1.0
        return self._seconds


def of(bundle: Bundle, entrypoint: Entrypoint, document: bytes, clock: Clock | None = None) -> Explanation:
    """Return an explanation with time enough."""
    return explain(bundle, entrypoint, document, clock=clock or SystemClock(), deadline_ms=60_000)


@pytest.fixture(scope="module")
def explained(bundle: Bundle) -> Explained:
    """Explanations of the bundle, each made once: what is claimed of one is claimed of the same."""
    return cache(lambda entrypoint, document: of(bundle, entrypoint, document))


def told(explanation: Explanation) -> list[list[str]]:
    """Return the flips in words."""
    return [[change.told() for change in flip.changes] for flip in explanation.flips]


def allowed_with(bundle: Bundle, entrypoint: Entrypoint, document: bytes, changes: tuple[Change, ...]) -> Any:
    """Return what is decided with changes made, without anything of the search."""
    value, data = orjson.loads(document), bundle.document
    for change in changes:
        if change.target == "input":
            value = changed(value, change.place[1:], change)
        else:
            data = changed(data, change.place[1:], change)
    interpreter = Interpreter.of(bundle.sources, data)
    return interpreter.ask(rule_of(entrypoint), orjson.dumps(value)).value["allow"]


DENIED: list[tuple[Entrypoint, bytes, str, str]] = [
    ("step", CLOSED, "step.path_closed", 'data.gateway.config.files.write.closed_prefixes: take out "protected/"'),
    ("step", CLOSED, "step.path_closed", 'input.parameters.path = "x"'),
    (
        "step",
        step("transform", {}, roles=("viewer",)),
        "step.kind_not_granted",
        'input.principal.roles: add "submitter"',
    ),
    (
        "step",
        step("transform", {}, roles=("viewer",)),
        "step.kind_not_granted",
        'data.gateway.config.roles.viewer.kinds: add "transform"',
    ),
    ("effect", REQUEST, "effect.host_closed", 'data.gateway.config.http.hosts.h = {"ports":[80],"methods":["GET"]}'),
    (
        "effect",
        effect("delay", "timer.sleep", {"ms": 3_600_001}),
        "effect.sleep_too_long",
        "input.effect.args.ms = 3600000",
    ),
    (
        "effect",
        effect("delay", "timer.sleep", {"ms": 3_600_001}),
        "effect.sleep_too_long",
        "data.gateway.config.timer.sleep_ms_max = 3600001",
    ),
    (
        "rpc",
        rpc("gateway.v1.MissionService", "CancelMission", tenant="red", submitter="bob"),
        "rpc.not_your_mission",
        'input.resource.submitter = "ann"',
    ),
    ("mission", mission(3, roles=("viewer",)), "mission.kind_not_granted", 'input.principal.roles: add "submitter"'),
]


@pytest.mark.parametrize(("entrypoint", "document", "code", "change"), DENIED)
def test_what_would_be_allowed_is_found(
    explained: Explained, entrypoint: Entrypoint, document: bytes, code: str, change: str
) -> None:
    """The reason names its rule and line, and the change that a person would think of is among those offered."""
    explanation = explained(entrypoint, document)
    assert not explanation.decision.allow
    assert explanation.complete
    source = next(each for each in explanation.reasons if each.reason.code == code)
    assert source.definition is not None
    assert f'"code": "{code}"' in source.definition.text
    line = (POLICIES / source.definition.file).read_text().split("\n")[source.definition.line - 1]
    assert line == source.definition.head
    assert [change] in told(explanation)


@pytest.mark.parametrize(("entrypoint", "document"), dict.fromkeys(each[:2] for each in DENIED))
def test_each_offer_flips_the_decision(
    bundle: Bundle, explained: Explained, entrypoint: Entrypoint, document: bytes
) -> None:
    """Evaluated anew, by an engine that is made for it: nothing is offered that would not be allowed."""
    explanation = explained(entrypoint, document)
    assert explanation.flips
    for flip in explanation.flips:
        if flip.changes:
            assert allowed_with(bundle, entrypoint, document, flip.changes) is True


def test_the_tree_ends_at_the_statement_that_does_not_hold(explained: Explained) -> None:
    """`allow` lacks `open`, which lacks a host, which data has no entry for; with the values at each."""
    document = explained("effect", REQUEST).document()
    allow: Any = document["needs"]
    assert (allow["rule"], allow["state"], allow["default"]) == ("data.gateway.effect.allow", "false", True)
    failing = allow["definitions"][0]["fails"]
    assert failing["source"] == "open"
    opened = failing["needs"][0]
    furthest = max(opened["definitions"], key=lambda each: each["held"])
    assert furthest["fails"]["source"] == "args.method in host.methods"
    assert furthest["fails"]["values"] == [
        {"expression": "args.method", "values": ['"GET"'], "more": 0},
        {"expression": "host.methods", "values": [], "more": 0},
    ]
    host = furthest["fails"]["needs"][0]
    assert (host["rule"], host["state"]) == ("data.gateway.effect.host", "undefined")
    assert host["definitions"][0]["value"] == "config.http.hosts[args.host]"


def test_functions_are_looked_into_with_their_arguments(explained: Explained) -> None:
    """`runs(roles, kind)` does not hold for these roles and this kind; the statement inside that says so is named."""
    document = explained("step", step("transform", {}, roles=("viewer",))).document()
    needs: Any = document["needs"]
    granted = needs["definitions"][0]["fails"]["needs"][0]
    called = granted["definitions"][0]["fails"]["needs"][0]
    assert called["rule"] == "data.gateway.lib.principals.runs"
    assert called["arguments"] == {"roles": '["viewer"]', "kind": '"transform"'}
    assert called["definitions"][0]["fails"]["source"] == "allowed in data.gateway.config.roles[name].kinds"


def test_an_allowed_input_needs_no_explanation(bundle: Bundle) -> None:
    """There is the decision, and nothing that it lacks."""
    explanation = of(bundle, "step", step("transform", {}))
    assert explanation.decision.allow
    assert explanation.tree is None
    assert explanation.flips == ()
    assert explanation.complete


def test_a_shorter_mission_is_offered(bundle: Bundle) -> None:
    """Where the size is what is over, the steps that may stay are named, and allowed."""
    data = json.loads(json.dumps(bundle.document))
    data["gateway"]["config"]["roles"] = {
        "submitter": {**data["gateway"]["config"]["roles"]["submitter"], "steps_max": 2}
    }
    small = Bundle.build(manifest={"roots": ["gateway"]}, data=data, modules=list(bundle.modules))
    explanation = of(small, "mission", mission(4))
    left = next(flip for flip in explanation.flips if flip.steps_left)
    assert left.steps_left == ("s0", "s1")
    assert left.document()["told"] == ["input.mission.steps: only s0, s1"]


def test_two_changes_together_are_offered_where_one_is_not_enough(bundle: Bundle) -> None:
    """A closed host and a kind that may not ask for it: each takes one reason away, both together all."""
    document = effect("transform", "http.request", {"method": "GET", "url": "http://h/", "host": "h", "port": 80})
    explanation = of(bundle, "effect", document)
    assert explanation.flips
    flip = explanation.flips[0]
    assert len(flip.changes) == 2
    assert allowed_with(bundle, "effect", document, flip.changes) is True
    assert all(allowed_with(bundle, "effect", document, (change,)) is False for change in flip.changes)


AUTHORED = """package gateway.step

import rego.v1

deny contains {"code": "site.team", "message": "team", "rule": "data.gateway.step.deny"} if {
	not trusted
}

trusted if {
	input.mission.labels.team == "blue"
	input.step.attempt <= 3
}

deny contains {"code": "site.blocked", "message": "blocked", "rule": "data.gateway.step.deny"} if {
	some label in input.taint
	label in data.gateway.config.blocked
}
"""


def authored(bundle: Bundle) -> Bundle:
    """Return the bundle with rules and data that nothing of the gateway knows."""
    data = json.loads(json.dumps(bundle.document))
    data["gateway"]["config"]["blocked"] = ["client"]
    modules = [*bundle.modules, Module("gateway/step/site.rego", AUTHORED)]
    return Bundle.build(manifest={"roots": ["gateway"]}, data=data, modules=modules)


def test_rules_that_an_author_added_are_explained_too(bundle: Bundle) -> None:
    """What is offered is read off the rules: a label's value, a member of a list of theirs."""
    document = step("transform", {})
    explanation = of(authored(bundle), "step", document)
    assert [each.definition.file for each in explanation.reasons if each.definition] == ["gateway/step/site.rego"] * 2
    changes = {tuple(sorted(words)) for words in told(explanation)}
    team = 'input.mission.labels.team = "blue"'
    assert ('input.taint: take out "client"', team) in {tuple(sorted(each, reverse=True)) for each in changes} | changes
    assert any('data.gateway.config.blocked: take out "client"' in each and team in each for each in changes)


def test_time_ends_an_explanation_and_not_its_answer(bundle: Bundle) -> None:
    """At the deadline the decision is told, with what is known until then, and that it is not all."""
    explanation = explain(bundle, "step", CLOSED, clock=FastClock(), deadline_ms=4_000)
    assert not explanation.complete
    assert not explanation.decision.allow
    assert [each.reason.code for each in explanation.reasons] == ["step.path_closed"]
    assert explanation.evaluations <= 4


@pytest.mark.parametrize("raw", [b"null", b"{}", b"[]", b"7", b'{"step": 1}', b'{"principal": {"roles": [[]]}}'])
@pytest.mark.parametrize("entrypoint", ["rpc", "mission", "step", "effect"])
def test_any_document_has_an_explanation(bundle: Bundle, entrypoint: Entrypoint, raw: bytes) -> None:
    """What is no document of the gateway is denied, and that is explained."""
    explanation = of(bundle, entrypoint, raw)
    assert not explanation.decision.allow
    assert orjson.dumps(explanation.document())
    assert explanation.tree is not None


def test_a_policy_that_gives_nothing_is_explained() -> None:
    """A bundle without the rule: the deny is the host's, and there is no tree to look at but the name."""
    module = "package gateway.rpc\n\nimport rego.v1\n\nother := 1\n"
    small = Bundle.build(manifest={"roots": ["gateway"]}, data={}, modules=[Module("p.rego", module)])
    explanation = of(small, "rpc", b"{}")
    assert explanation.decision.reasons[0].code == "policy.undefined"
    assert explanation.reasons[0].definition is None
    assert explanation.flips == ()
