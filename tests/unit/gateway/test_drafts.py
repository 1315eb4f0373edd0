"""Drafts: what is wrong whatever is added is told apart from what is not there yet."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import MissionInvalidError
from gateway.config import Config
from gateway.drafts import Draft
from gateway.rules import local_admission

ADMISSION = local_admission(None, Config())
WHOLE: dict[str, Any] = {
    "version": "1.0",
    "name": "nightly",
    "steps": [
        {
            "id": "get",
            "name": "Get",
            "step_type": "http",
            "parameters": {"url": "https://example.com/", "method": "GET"},
        },
        {
            "id": "put",
            "name": "Put",
            "step_type": "create_file",
            "depends_on": ["get"],
            "parameters": {"path": "out/a.txt", "content": "${steps.get.output.body}"},
        },
    ],
}


def draft(value: Any) -> Draft:
    return ADMISSION.draft(orjson.dumps(value))


def told(value: Any) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return codes and fields of what is wrong, and of what is missing."""
    found = draft(value)
    wrong, missing = ([(v.code, v.field) for v in some] for some in (found.wrong, found.missing))
    return wrong, missing


def one_step(**step: Any) -> dict[str, Any]:
    return {"version": "1.0", "name": "m", "steps": [{"id": "a", "name": "A", **step}]}


def test_a_whole_mission_is_complete() -> None:
    """What could be submitted has no findings."""
    found = draft(WHOLE)
    assert found.complete
    assert found.document() == {"complete": True, "wrong": [], "missing": []}


def test_nothing_at_all_is_missing_and_not_wrong() -> None:
    """An empty form is no mistake."""
    wrong, missing = told({"version": "1.0"})
    assert wrong == []
    assert missing == [("mission.missing_field", "name"), ("mission.missing_field", "steps")]


@given(st.data())
def test_whatever_is_taken_away_is_missing_and_never_wrong(data: st.DataObject) -> None:
    """Law: a draft on its way to a whole mission, its fields filled in in any order, is never told to be wrong."""

    def thinned(value: Any, depth: int = 0) -> Any:
        if isinstance(value, dict):
            kept = {}
            for name, inner in value.items():
                what = data.draw(st.sampled_from(["keep", "keep", "drop", "null", "empty"])) if depth else "keep"
                if name == "version" or what == "keep":
                    kept[name] = thinned(inner, depth + 1)
                elif what in {"null", "empty"}:
                    kept[name] = None if what == "null" else "" if isinstance(inner, str) else None
            return kept
        if isinstance(value, list) and depth == 1:
            return [thinned(inner, depth + 1) for inner in value]
        return value

    found = draft(thinned(WHOLE))
    assert found.wrong == (), found


@pytest.mark.parametrize(
    ("step", "wrong"),
    [
        ({"step_type": "http", "parameters": {"method": "NOPE"}}, ("schema.enum", "steps[0].parameters.method")),
        ({"step_type": "http", "parameters": {"v": ""}}, ("schema.additionalProperties", "steps[0].parameters.v")),
        ({"step_type": "read_file", "parameters": {"path": "../x"}}, ("sanitize.path.traversal", "steps[0].parameters.path")),  # noqa: E501
        ({"step_type": "delay", "parameters": {"ms": "soon"}}, ("schema.type", "steps[0].parameters.ms")),
        ({"step_type": "htttp", "parameters": {}}, ("mission.unknown_step_type", "steps[0].step_type")),
        ({"step_type": "delay", "retry": {"max_attempts": 0}}, ("mission.out_of_range", "steps[0].retry.max_attempts")),
        ({"step_type": "delay", "depends_on": ["a"]}, ("mission.self_dependency", "steps[0].depends_on[0]")),
        ({"stepp_type": "delay"}, ("mission.unknown_field", "steps[0].stepp_type")),
    ],
)  # fmt: skip
def test_what_no_addition_mends_is_wrong(step: dict[str, Any], wrong: tuple[str, str]) -> None:
    """However much the step lacks besides: its mistakes are told at once, with their places."""
    found, missing = told(one_step(**step))
    assert found == [wrong]
    assert all(code != wrong[0] for code, _ in missing)


@pytest.mark.parametrize(
    ("step", "missing"),
    [
        ({"step_type": "http", "parameters": {"url": ""}}, "steps[0].parameters.url"),
        ({"step_type": "http", "parameters": {"url": None}}, "steps[0].parameters.url"),
        ({"step_type": "http", "parameters": {}}, "steps[0].parameters.url"),
        ({"step_type": "http"}, "steps[0].parameters"),
        ({"step_type": "delay", "parameters": {"ms": 1}, "depends_on": ["later"]}, "steps[0].depends_on[0]"),
    ],
)
def test_what_is_not_there_yet_is_missing(step: dict[str, Any], missing: str) -> None:
    """Absent, null, empty, or the name of a step that is still to be written."""
    wrong, found = told(one_step(**step))
    assert wrong == []
    assert missing in [field for _, field in found]


def test_a_level_that_is_not_to_be_had_is_wrong_at_once() -> None:
    """The security level is looked at before everything else is there."""
    wrong, missing = told({"version": "1.0", "config": {"security_level": "none"}})
    assert wrong == [("security.level_closed", "config.security_level")]
    assert missing


def test_what_lacks_nothing_is_judged_as_a_whole() -> None:
    """A rule that only a finished mission can break is told once it is finished."""
    closed = {**WHOLE, "config": {"security_level": "strict"}}
    wrong, missing = told(closed)
    assert missing == []
    assert ("security.effect_closed", "steps[0].step_type") in wrong


def test_findings_have_their_lines() -> None:
    """Both sorts point into the text that was sent."""
    head = b'version: "1.0"\nname: m\nsteps:\n  - id: a\n    name: A\n'
    text = head + b"    step_type: http\n    parameters:\n      method: NOPE\n"
    found = ADMISSION.draft(text)
    assert [(v.field, v.line) for v in found.wrong] == [("steps[0].parameters.method", 8)]
    assert [(v.field, v.line) for v in found.missing] == [("steps[0].parameters.url", 8)]


def test_what_is_no_document_is_refused() -> None:
    """A draft lacks things; it is not broken YAML."""
    with pytest.raises(MissionInvalidError):
        ADMISSION.draft(b"steps: [")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["version", "name", "steps", "id", "step_type", "parameters", "config", "url"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_document_has_findings_or_is_complete(value: Any) -> None:
    """Law: no JSON value makes the check fail; only what could be submitted is complete."""
    try:
        found = draft(value)
    except MissionInvalidError:
        return
    assert found.complete == (found.wrong == () and found.missing == ())
    assert not found.complete
