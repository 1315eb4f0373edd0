"""Taint: labels flow along references and through the workspace, by what a step's kind declares."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from engine.loader import load_mission
from engine.mission import MissionLimits
from gateway.taint import taint_of

EFFECTS = {
    "create_file": ("file.write",),
    "read_file": ("file.read",),
    "http": ("http.request",),
    "transform": (),
    "sync": ("http.request", "file.read", "file.write"),
}


def step(step_id: str, kind: str, text: str = "", *depends_on: str) -> dict[str, Any]:
    return {
        "id": step_id,
        "name": step_id,
        "step_type": kind,
        "depends_on": list(depends_on),
        "parameters": {"x": text},
    }


def labels(*steps: Mapping[str, Any]) -> dict[str, set[str]]:
    document = {"version": "1.0", "name": "m", "variables": {"v": 1}, "steps": list(steps)}
    plan = load_mission(orjson.dumps(document), limits=MissionLimits(), step_types=EFFECTS)
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
    ],
)
def test_where_labels_come_from(kind: str, text: str, expected: set[str]) -> None:
    """Variables, requests and files are the sources; an escaped reference is none."""
    assert labels(step("a", kind, text))["a"] == expected


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
