"""What a bundle reads of its input, by its text and its data."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.policy import reads as module_of_reads
from gateway.policy.bundle import Bundle
from gateway.policy.projection import projected
from gateway.policy.reads import EVERYTHING, InputReads, Reads
from gateway.policy.rego_ast import parse_module
from gateway.policy.vetting import rule_kinds
from tests.policy_documents import rpc

POLICIES = Path(__file__).resolve().parents[4] / "policies"
ALWAYS = {
    ("principal",),
    ("resource", "audit_scope"),
    ("resource", "submitter"),
    ("resource", "tenant"),
    ("rpc", "method"),
    ("rpc", "service"),
}


def reads(text: str, data: Any = None) -> Reads:
    module = parse_module("p.rego", f"package gateway.rpc\n\nimport rego.v1\n\n{text}\n")
    return InputReads([module], data or {}).of("rpc")


def of_site(**config: Any) -> Reads:
    """Return what the default bundle reads of calls, with other data."""
    bundle = Bundle.load(POLICIES)
    data = orjson.loads(orjson.dumps(bundle.document))
    data["gateway"]["config"] |= config
    return InputReads([parse_module(each.path, each.text) for each in bundle.modules], data).of("rpc")


def test_the_default_bundle_reads_neither_the_time_nor_the_missions_id() -> None:
    """Only who asks, for what, and whose it is."""
    assert set(of_site()) == ALWAYS


def test_closings_and_separation_are_read_where_data_have_them() -> None:
    """Then the time, and all that the resource says, are parts of the key again."""
    assert ("time",) in of_site(closings=[{"name": "n", "at": ["rpc"], "message": "m", "closed_in": ["w"]}])
    assert ("resource",) in of_site(approvals={"separation": {"distinct_approvers": True}})


@pytest.mark.parametrize(
    ("text", "data", "found"),
    [
        ("decision := input.a.b", {}, {("a", "b")}),
        ('decision := input["a"].b[input.c]', {}, {("a", "b"), ("c",)}),
        ("decision := x.b if x := input.a", {}, {("a",)}),
        ("decision := input", {}, {()}),
        ("decision := input.a if input.a.b", {}, {("a",)}),
        ("decision := other\nother := input.z", {}, {("z",)}),
        ("decision := f(input.a)\nf(x) := x.b if input.c", {}, {("a",), ("c",)}),
        ("decision := [x | some x in input.xs]", {}, {("xs",)}),
        ("decision := {input.k: 1}", {}, {("k",)}),
        ("decision := true if every x in input.xs { x == input.y }", {}, {("xs",), ("y",)}),
        # by data alone
        ("decision := 1 if { data.off; input.a }", {}, set()),
        ("decision := 1 if { data.off; input.a }", {"off": False}, set()),
        ("decision := 1 if { data.on; input.a }", {"on": True}, {("a",)}),
        ("decision := 1 if { input.b; data.off; input.a }", {}, {("b",)}),
        ("decision := 1 if { not data.on; input.a }", {"on": None}, set()),
        ("decision := 1 if { some x in data.xs; input.a == x }", {"xs": []}, set()),
        ("decision := 1 if { some x in data.xs; input.a == x }", {"xs": [1]}, {("a",)}),
        ("decision := 1 if not data.off else := input.a", {}, set()),
        ("decision := 1 if { not data.off; input.b } else := input.a", {}, {("a",), ("b",)}),
        ("c := data.c\ndecision := 1 if { c.off; input.a }", {"c": {}}, set()),
        ("default on := false\non if not data.off\ndecision := 1 if { not on; input.a }", {}, set()),
        ("default on := false\non if not data.off\ndecision := 1 if { not on; input.a }", {"off": 1}, {("a",)}),
        ("on if not data.off\non if input.b\ndecision := 1 if { not on; input.a }", {}, {("a",), ("b",)}),
        # where data have no value, a default stands in, and not nothing
        ("default on := true\non := data.on\ndecision := 1 if { on; input.a }", {}, {("a",)}),
        ("default on := true\non := data.on\ndecision := 1 if not on else := input.a", {}, {("a",)}),
        ("default on := true\non := data.on if not data.off\ndecision := 1 if { on; input.a }", {}, {("a",)}),
        ("default c := {}\nc := data.c\ndecision := 1 if { some x in c; input.a == x }", {}, {("a",)}),
        ("default on := true\non := data.on\ndecision := 1 if { on; input.a }", {"on": False}, set()),
        # a name of one's own is not the rule of that name
        ("c := data.c\ndecision := f(input.a)\nf(c) := 1 if { c.off; input.b }", {"c": {}}, {("a",), ("b",)}),
    ],
)
def test_what_is_read(text: str, data: Any, found: set[tuple[str, ...]]) -> None:
    """Each form of a reference; what data shut off is left out, and nothing else is."""
    assert set(reads(text, data)) == found


@pytest.mark.parametrize(
    "text",
    [
        "\n".join([f"r{n} if {{ r{n + 1}; r{n + 1} }}" for n in range(30)] + ["r30 if not data.off"]),
        "\n".join([f"r{n} if {{ data.x{n}.y; r{n + 1} }}" for n in range(300)] + ["r300 if input.a"]),
    ],
    ids=["each rule twice by the one above", "many rules and many data"],
)
def test_a_bundle_is_read_in_as_many_steps_as_it_is_long(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule is looked at once, however many ways lead to it: who writes a bundle cannot stop the gateway by it."""
    steps = 0

    class Counted(dict[Any, Any]):
        def __iter__(self) -> Any:
            return map(_step, super().__iter__())

        def __contains__(self, path: object) -> bool:
            return super().__contains__(_step(path))

    def _step(path: Any) -> Any:
        nonlocal steps
        steps += 1
        assert steps < 20_000
        return path

    monkeypatch.setattr(module_of_reads, "rule_kinds", lambda *of: Counted(rule_kinds(*of)))
    data = {f"x{n}": {"y": True} for n in range(300)}
    assert set(reads(f"decision := true if r0\n{text}", data)) in (set(), {("a",)})


def test_a_bundle_knows_what_it_reads() -> None:
    """One that is vetted; of another, which OPA answers from, everything is read."""
    assert set(Bundle.load(POLICIES).rpc_reads) == ALWAYS
    assert Bundle.load(POLICIES, engine="opa").rpc_reads == EVERYTHING


def test_a_projection_tells_what_is_not_there_from_null() -> None:
    """Undefined and null are two things to a rule."""
    paths: Reads = (("a", "b"), ("c",))
    seen = {projected(text, paths) for text in (b"{}", b'{"a":{"b":null}}', b'{"a":[]}', b'{"c":null}', b'{"a":null}')}
    assert len(seen) == 3
    assert projected(b"not json", paths) is None
    assert projected(rpc("s", "m"), (("rpc", "method"),)) == b'[["m"]]'
