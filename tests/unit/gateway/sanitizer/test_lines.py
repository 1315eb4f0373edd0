import json

import orjson
import pytest

from gateway.addresses import AddressPolicy
from gateway.sanitizer import sanitize_lines
from gateway.sanitizer.lines import LINE_BYTES_MAX


def verdicts(type_name: str, *lines: bytes) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in sanitize_lines(type_name, lines)]


def test_one_verdict_a_line_in_order() -> None:
    """Accepted values come back as they are, refused ones as null with the code."""
    assert verdicts("path", b'"a/b"\n', b'"../x"\n', b'"\\u00fcber.md"') == [
        {"ok": True, "value": "a/b", "code": None},
        {"ok": False, "value": None, "code": "sanitize.path.traversal"},
        {"ok": True, "value": "über.md", "code": None},
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"x",
        b"3",
        b"null",
        b'["a"]',
        b'"a',
        b'"a" "b"',
        b'"a\x00"',
        b'"\xff"',
        b"'a'",
        b"[" * 100_000,
        b'"\\x"',
    ],
)
def test_what_is_no_json_string_is_said_so(line: bytes) -> None:
    """Anything but one JSON string is refused with a code of its own."""
    assert verdicts("text", line) == [{"ok": False, "value": None, "code": "input.not_a_json_string"}]


@pytest.mark.parametrize("type_name", ["path", "url", "host", "identifier", "argv", "header", "text", "json", "secret"])
def test_lone_surrogates_are_refused_and_the_answer_is_valid(type_name: str) -> None:
    """A JSON escape of half a pair is refused by every type, and the verdict is UTF-8 that every parser reads."""
    (line,) = sanitize_lines(type_name, [b'"a\\ud800b"\n'])
    assert json.loads(line.decode())["ok"] is False
    assert orjson.loads(line)["code"].startswith(f"sanitize.{type_name}.")


def test_surrogate_pairs_are_characters() -> None:
    """A whole pair, escaped, is one character."""
    assert verdicts("text", b'"\\ud83d\\ude00"') == [{"ok": True, "value": "\U0001f600", "code": None}]


def test_a_line_is_bounded() -> None:
    """A line past the maximum is refused unread."""
    assert verdicts("text", b'"' + b"x" * LINE_BYTES_MAX + b'"')[0]["code"] == "input.line_too_long"


def test_addresses_are_those_of_policy() -> None:
    """The caller's address policy is the one that judges."""
    policy = AddressPolicy.parse(["localhost:8080"])
    (line,) = sanitize_lines("url", [b'"http://localhost:8080/"'], addresses=policy)
    assert orjson.loads(line)["ok"] is True


def test_an_unknown_type_refuses_every_line() -> None:
    """A type that does not exist fails closed."""
    assert verdicts("txet", b'"a"')[0]["code"] == "sanitize.unknown_type"
