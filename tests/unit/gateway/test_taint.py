"""Taint: labels flow along references and through the workspace, by what a step's kind declares."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from engine.loader import load_mission
from engine.mission import MissionLimits
from gateway.effects.schemas import ARGUMENT_SCHEMAS
from gateway.taint import taint_of

EFFECTS = {
    "create_file": ("file.write",),
    "read_file": ("file.read",),
    "http": ("http.request",),
    "transform": (),
    "sync": ("http.request", "file.read", "file.write"),
    "mission": ("mission.run",),
    "command": ("command.run",),
    "delay": ("timer.sleep",),
    "future": ("disk.mirror",),
}


def step(step_id: str, kind: str, text: str = "", *depends_on: str, **fields: Any) -> dict[str, Any]:
    return fields | {
        "id": step_id,
        "name": step_id,
        "step_type": kind,
        "depends_on": list(depends_on),
        "parameters": {"x": text},
    }


def labels(*steps: Mapping[str, Any]) -> dict[str, set[str]]:
    document = {"version": "1.0", "name": "m", "variables": {"v": [1]}, "steps": list(steps)}
    plan = load_mission(orjson.dumps(document), limits=MissionLimits(), step_types=EFFECTS, secrets={"KEY"})
    return {s["id"]: set(found) for s, found in zip(steps, taint_of(plan, EFFECTS), strict=True)}


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("transform", "plain", set()),
        ("transform", "${variables.v}", {"client"}),
        ("transform", "$${variables.v}", set()),
        ("http", "", {"network"}),
        ("read_file", "", {"workspace"}),
        ("create_file", "${variables.v}", {"client"}),
        ("sync", "", {"network", "workspace"}),
        ("delay", "", set()),
        ("command", "", {"command", "workspace"}),
        ("mission", "", {"client", "command", "network", "workspace"}),
        ("future", "", {"client", "command", "network", "workspace"}),
        ("transform", "${secrets.KEY}", set()),
    ],
)
def test_where_labels_come_from(kind: str, text: str, expected: set[str]) -> None:
    """Variables, requests and files are the sources; an escaped reference is none."""
    assert labels(step("a", kind, text))["a"] == expected


def test_only_what_is_unknown_or_another_mission_has_every_label() -> None:
    """Each effect of this gateway has its own row: a new one is not forgotten, only feared."""
    kinds = {op: (op,) for op in ARGUMENT_SCHEMAS}
    steps = [step(op.replace(".", "-"), op) for op in kinds]
    document = orjson.dumps({"version": "1.0", "name": "m", "steps": steps})
    found = taint_of(load_mission(document, limits=MissionLimits(), step_types=kinds), kinds)
    assert [op for op, labels in zip(kinds, found, strict=True) if len(labels) == 4] == ["mission.run"]


@pytest.mark.parametrize(
    "fields",
    [
        {"when": {"eq": ["${steps.get.output.ok}", True]}},
        {"when": {"any": [{"in": ["${variables.v}", [1]]}, {"not": {"exists": ["${steps.get.output.ok}"]}}]}},
        {"foreach": {"items": "${steps.get.output.rows}"}},
    ],
)
def test_what_decides_whether_and_how_often_a_step_runs_taints_it(fields: dict[str, Any]) -> None:
    """A condition and a list of items tell of the data that they are made of, though no parameter holds it."""
    found = labels(
        step("get", "http"),
        step("acts", "create_file", "constant", "get", **fields),
        step("reads", "read_file", "", "acts"),
        step("after", "transform", "${steps.acts.output}", "acts"),
    )
    own = {"network"} | ({"client"} if "variables" in str(fields) else set())
    assert (found["acts"], found["after"]) == (own, own)
    assert found["reads"] == {"workspace", *own}


def test_items_have_the_labels_of_their_source() -> None:
    """What is written in the mission has none, whether it stands in the parameters or among the items."""
    found = labels(
        step("literal", "transform", "${item}", foreach={"items": ["a"]}),
        step("client", "transform", "${item}", foreach={"items": "${variables.v}"}),
        step("get", "http"),
        step("network", "transform", "${item.x}", "get", foreach={"items": "${steps.get.output}"}),
    )
    assert (found["literal"], found["client"], found["network"]) == (set(), {"client"}, {"network"})


def test_an_unknown_effect_may_read_and_write_files() -> None:
    """It gets what others wrote, and gives what it has to whoever reads."""
    assert labels(step("f", "future"), step("r", "read_file"))["r"] == {"client", "command", "network", "workspace"}


def test_labels_flow_along_references_only() -> None:
    """A dependency that is not referred to brings no data, so no label."""
    found = labels(
        step("get", "http"),
        step("uses", "transform", "${steps.get.output.body}", "get"),
        step("again", "transform", "${steps.uses.output}", "uses"),
        step("waits", "transform", "", "get"),
    )
    assert found == {"get": {"network"}, "uses": {"network"}, "again": {"network"}, "waits": set()}


def test_a_tainted_write_taints_every_read() -> None:
    """The workspace is one place: whoever reads may read what a tainted step wrote, in whichever order they stand."""
    found = labels(
        step("early", "read_file"),
        step("get", "http"),
        step("keep", "create_file", "${steps.get.output.body}", "get"),
        step("late", "read_file", "", "keep"),
    )
    assert found["early"] == found["late"] == {"workspace", "network"}


def test_a_command_reads_and_writes_the_whole_workspace() -> None:
    """What any step writes reaches it, and what reaches it reaches every step that reads."""
    found = labels(
        step("run", "command"),
        step("get", "http"),
        step("keep", "create_file", "${steps.get.output.body}", "get"),
        step("read", "read_file"),
        step("pure", "transform", "${steps.run.output.stdout}", "run"),
    )
    every = {"workspace", "command", "network"}
    assert (found["run"], found["read"], found["pure"], found["keep"]) == (every, every, every, {"network"})


def test_labels_go_round_the_workspace_until_nothing_grows() -> None:
    """A read that taints a write that taints a read: three labels need three rounds, and get them."""
    found = labels(
        step("a", "create_file", "${steps.r.output.content}", "r"),
        step("r", "read_file"),
        step("b", "create_file", "${variables.v}"),
        step("get", "http"),
        step("c", "create_file", "${steps.get.output.body}", "get"),
    )
    assert found["r"] == found["a"] == {"workspace", "client", "network"}


def test_a_path_brings_its_label_as_well_as_content() -> None:
    """Where a file goes is data, too: any parameter that refers to a source taints the step."""
    found = labels(step("get", "http"), step("keep", "create_file", "out/${steps.get.output.name}", "get"))
    assert found["keep"] == {"network"}
