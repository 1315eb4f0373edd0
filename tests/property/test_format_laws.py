"""Laws of the result formats: what is written can be read back exactly, and no text escapes its place."""

import base64
import json
import re
from xml.etree import ElementTree as ET

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from engine.formats import ResultFormat, render
from engine.mission import MissionLimits
from engine.xml_writer import element_name
from engine.yaml_text import read_yaml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["no", "~", "010", "1e3", ".inf", "12:30", "2024-01-01", "=", "<<", "? a", "---", "_x0041_", "_x_", "xml", "]]>"]
)
LINES = st.lists(
    st.text(st.sampled_from("ab: #-'\"é\t\r\x85\u2028\ufeff"), max_size=8) | st.sampled_from(["---", "...", "%A"]),
    max_size=5,
).map("\n".join)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | LINES
)
KEYS = TEXTS | LINES
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)

ESCAPED = re.compile("_x([0-9A-F]{4,6})_")


def key_of(name: str) -> str:
    """Return the key whose element has this name; the inverse of `element_name`."""
    return "" if name == "_x_" else ESCAPED.sub(lambda found: chr(int(found[1], 16)), name)


def parse_xml(data: bytes) -> object:
    """Return the value of a document, by the rules that `engine.xml_writer` states."""
    root = ET.fromstring(data.decode())  # noqa: S314 - our own output
    assert root.tag == "value"
    return value_of(root)


def value_of(element: ET.Element) -> object:
    text = element.text or ""
    match element.get("type"):
        case "object":
            return {key_of(child.tag): value_of(child) for child in element}
        case "array":
            assert all(child.tag == "item" for child in element)
            return [value_of(child) for child in element]
        case "string":
            return json.loads(text) if element.get("encoding") == "json" else text
        case "integer":
            return int(text)
        case "number":
            return float(text)
        case "boolean":
            return {"true": True, "false": False}[text]
        case "null":
            assert not text
            return None
        case other:
            raise AssertionError(other)


@given(VALUES)
def test_reading_the_json_is_the_identity(value: object) -> None:
    """Also of the types and the order of members: `repr` sees both."""
    assert repr(json.loads(render(value, ResultFormat.JSON))) == repr(value)  # type: ignore[arg-type]


@given(VALUES)
@example("---\na\n")
@example({"a": "x\n\n", "b": ["...\n", "x\n y\n"]})
def test_reading_the_yaml_is_the_identity(value: object) -> None:
    """For this engine's own reader."""
    written = render(value, ResultFormat.YAML).decode()  # type: ignore[arg-type]
    assert repr(read_yaml(written, MissionLimits())) == repr(value)


@given(VALUES)
def test_the_yaml_is_the_same_to_a_reader_of_yaml_1_1(value: object) -> None:
    """PyYAML's safe loader, which takes `no` for false and 12:30 for 750, finds the same texts."""
    written = render(value, ResultFormat.YAML).decode()  # type: ignore[arg-type]
    assert repr(yaml.safe_load(written)) == repr(value)


@given(VALUES)
def test_reading_the_xml_is_the_identity(value: object) -> None:
    """Every value is well-formed XML, whatever its texts hold."""
    assert repr(parse_xml(render(value, ResultFormat.XML))) == repr(value)  # type: ignore[arg-type]


@given(KEYS)
def test_an_element_name_gives_its_key_back(key: str) -> None:
    """So two keys never have one name, and none is reserved."""
    name = element_name(key)
    assert key_of(name) == key
    assert re.fullmatch("[A-Za-z_][A-Za-z0-9._-]*", name)
    assert not name.lower().startswith("xml")


@given(VALUES)
def test_plain_text_is_printable_and_has_a_line_for_each_member_and_item(value: object) -> None:
    """No text can draw a line of its own, move the cursor, or turn the direction of reading."""
    lines = render([value], ResultFormat.PLAIN).decode().split("\n")  # type: ignore[list-item]
    assert all(line.isprintable() for line in lines)
    assert len(lines) == lines_of([value])


def lines_of(value: object) -> int:
    """Count: a list or object inside a list begins on its item's line, one inside an object below its key."""
    if isinstance(value, dict) and value:
        return sum(1 + (lines_of(item) if isinstance(item, dict | list) and item else 0) for item in value.values())
    return sum(map(lines_of, value)) if isinstance(value, list) and value else 1


@given(st.binary(max_size=100))
def test_bytes_come_out_as_they_were(data: bytes) -> None:
    """Whatever they are."""
    assert render({"$bytes": base64.b64encode(data).decode()}, ResultFormat.BINARY) == data
