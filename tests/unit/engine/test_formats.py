import importlib.metadata
from collections.abc import Mapping
from dataclasses import replace

import orjson
import pytest

from engine.errors import RefusalError
from engine.formats import ResultFormat, enriched, render
from engine.mission import MissionConfig, Strategy
from engine.result import MissionResult
from engine.values import JsonValue
from tests.schedules import ScriptedRunner, forever, plan_of, run_of, sleeps
from tests.virtual_time import run

VALUE: Mapping[str, JsonValue] = {
    "size": 3,
    "a b": ["x", None, {"k": {"q": 1.5, "r": []}, "z": "é"}],
    "text": "one\ntwo\n",
    "empty": "",
}


def test_json_is_compact_and_keeps_the_order() -> None:
    """Bytes are UTF-8."""
    assert render({"b": "é", "a": (1, 2)}, ResultFormat.JSON) == '{"b":"é","a":[1,2]}'.encode()


def test_yaml_is_in_block_style() -> None:
    """Several lines of text are several lines, and the order is kept."""
    expected = """\
size: 3
a b:
- x
- null
- k:
    q: 1.5
    r: []
  z: é
text: |
  one
  two
empty: ""
"""
    assert render(VALUE, ResultFormat.YAML).decode() == expected


@pytest.mark.parametrize(
    "text", ["no", "12:30", "0o17", "<<", "a: b", " a\nb", "a\r\nb", "a \nb", "\x1b\n", "a\u2028b"]
)
def test_yaml_quotes_what_could_be_read_otherwise(text: str) -> None:
    """By YAML 1.1 or 1.2, or by an editor."""
    assert b'"' in (written := render({"k": text}, ResultFormat.YAML)) or b"'" in written
    assert b"|" not in written


def test_yaml_repeats_what_comes_twice() -> None:
    """There are no anchors, which this engine would refuse to read."""
    twice = ["x"]
    assert render({"a": twice, "b": twice}, ResultFormat.YAML) == b"a:\n- x\nb:\n- x\n"


def test_xml_names_elements_by_their_keys() -> None:
    """Types are attributes; what names and texts cannot hold is escaped."""
    value = {"a b": [True, None, 1, 1.5], "xml": "<&]]>\r", "_x": "\x00", "": {}}
    expected = """\
<?xml version="1.0" encoding="UTF-8"?>
<value type="object">
  <a_x0020_b type="array">
    <item type="boolean">true</item>
    <item type="null"/>
    <item type="integer">1</item>
    <item type="number">1.5</item>
  </a_x0020_b>
  <_x0078_ml type="string">&lt;&amp;]]&gt;&#13;</_x0078_ml>
  <_x005F_x type="string" encoding="json">"\\u0000"</_x005F_x>
  <_x_ type="object"/>
</value>
"""
    assert render(value, ResultFormat.XML).decode() == expected


def test_plain_text_is_for_people() -> None:
    """Scalars are bare, and what is inside something is indented."""
    expected = """\
size: 3
a b:
  - x
  - null
  - k:
      q: 1.5
      r: []
    z: é
text: one\\ntwo\\n
empty:"""
    assert render(VALUE, ResultFormat.PLAIN).decode() == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("one\n\ttwo\x1b[2J", "one\n\ttwo\\x1b[2J"),
        ("a\u202eb\U000e0001", "a\\u202eb\\U000e0001"),
        (None, "null"),
        (True, "true"),
        (-1.5, "-1.5"),
        ([], "[]"),
        ({}, "{}"),
        ([[1, [2]], [{"a": [3]}]], "- - 1\n  - - 2\n- - a:\n      - 3"),
        ({"a\nb": "c\r\td"}, "a\\nb: c\\r\\td"),
    ],
)
def test_plain_text_obeys_no_control_character(value: JsonValue, text: str) -> None:
    """A string by itself keeps its lines; inside something it has one."""
    assert render(value, ResultFormat.PLAIN).decode() == text


def test_bytes_are_given_out_as_they_are() -> None:
    """Of the one object that says that it holds some."""
    assert render({"$bytes": "AAH/"}, ResultFormat.BINARY) == b"\x00\x01\xff"
    assert render({"$bytes": ""}, ResultFormat.BINARY) == b""


@pytest.mark.parametrize(
    "value",
    [
        None,
        "AAH/",
        {},
        {"$bytes": 1},
        {"$bytes": "AAH/", "more": 1},
        {"bytes": "AAH/"},
        {"$bytes": "AAH"},
        {"$bytes": "AAH/\n"},
        {"$bytes": "AA-_"},
        {"$bytes": "AB=="},
        {"$bytes": "AA==AA=="},
        {"$bytes": "é"},
    ],
)
def test_nothing_else_has_bytes(value: JsonValue) -> None:
    """Base64 is strict: one text for each content."""
    with pytest.raises(RefusalError) as raised:
        render(value, ResultFormat.BINARY)
    assert raised.value.code == "format.not_binary"


@pytest.mark.parametrize("kind", [ResultFormat.JSON, ResultFormat.YAML, ResultFormat.XML, ResultFormat.PLAIN])
@pytest.mark.parametrize("value", [float("nan"), {1: 2}, b"x", "\ud800", object(), {"a": [{"b": float("inf")}]}])
def test_what_is_no_json_value_is_refused(kind: ResultFormat, value: JsonValue) -> None:
    """Rather than written as something else."""
    with pytest.raises(RefusalError) as raised:
        render(value, kind)
    assert raised.value.code == "format.not_json"


@pytest.mark.parametrize("kind", [ResultFormat.JSON, ResultFormat.YAML, ResultFormat.XML, ResultFormat.PLAIN])
def test_depth_ends_in_a_refusal_not_in_a_crash(kind: ResultFormat) -> None:
    """As deep as JSON is written, every format is; deeper, none."""
    deep: JsonValue = 1
    for _ in range(250):
        deep = [deep]
    assert b"1" in render(deep, kind)
    for _ in range(10):
        deep = [deep]
    with pytest.raises(RefusalError):
        render(deep, kind)


def finished() -> tuple[MissionResult, dict[str, JsonValue]]:
    """Return a result, and the same enriched."""
    config = MissionConfig(strategy=Strategy.LEVELS)
    plan = plan_of({"a": [], "b": ["a"], "c": ["a"], "d": ["b"]}, config=config, timeouts={"b": 9.0}, tolerant=["b"])
    plan = replace(plan, mission=replace(plan.mission, labels={"team": "x"}))
    runner = ScriptedRunner({"a": sleeps(2.0), "b": forever, "c": sleeps(3.0), "d": sleeps(1.0)})

    async def main() -> MissionResult:
        return await run_of(plan, runner).execute()

    result = run(main())
    return result, dict(enriched(result, plan, metadata={"tenant": "t", "strategy": "a lie"}))


def test_a_result_is_enriched_beside_what_is_documented() -> None:
    """The documented members stay as they are; the engine's own win over the caller's."""
    result, document = finished()
    metadata = document.pop("metadata")
    assert document == result.document()
    assert isinstance(metadata, dict)
    slowest = metadata.pop("slowest_steps")
    assert isinstance(slowest, list)
    assert [each["step_id"] for each in slowest][:3] == ["b", "c", "a"]
    assert str(metadata.pop("mission_digest")).startswith("sha256:")
    assert metadata == {
        "tenant": "t",
        "mission_name": metadata["mission_name"],
        "mission_version": "1.0",
        "labels": {"team": "x"},
        "strategy": "levels",
        "engine_version": importlib.metadata.version("missiongate"),
        "steps_total": 4,
        "levels_total": 3,
        "attempts_total": sum(each.attempts for each in result.step_results.values()),
    }


def test_the_slowest_steps_are_a_few() -> None:
    """However many there are; those that never began are none of them."""
    plan = plan_of({f"s{n}": [] for n in range(9)})

    async def main() -> MissionResult:
        return await run_of(plan, ScriptedRunner({f"s{n}": sleeps(float(n)) for n in range(9)})).execute()

    result = run(main())
    never = result.step_results["s8"]._replace(attempts=0)
    metadata = enriched(replace(result, step_results={**result.step_results, "s8": never}), plan)["metadata"]
    assert isinstance(metadata, dict)
    assert [each["step_id"] for each in metadata["slowest_steps"]] == ["s7", "s6", "s5", "s4", "s3"]


@pytest.mark.parametrize("kind", [ResultFormat.YAML, ResultFormat.XML, ResultFormat.PLAIN])
def test_an_enriched_result_has_every_format(kind: ResultFormat) -> None:
    """It is JSON through and through."""
    _, document = finished()
    assert render(document, kind)
    assert orjson.loads(render(document, ResultFormat.JSON)) == document
