"""How an answer that is not the expected one is told apart from it."""

from gateway.cli.hook.cases import Expected
from gateway.cli.hook.differences import DIFFERENCES_MAX, differences


def test_each_difference_has_its_place() -> None:
    """As a JSON pointer, with both values; what lacks and what is too much is said as such."""
    expected = Expected(value={"a": [1, 2], "b/c~": {"d": True}, "e": 1})
    answer = b'{"a":[1,3,4],"b/c~":{"d":1},"f":null}'
    assert differences(expected, answer) == [
        "/a/1: expected 2, answered 3",
        "/a: expected 2 values, answered 3",
        "/b~1c~0/d: expected true, answered 1",
        "/e: expected 1, and it is missing",
        "/f: not expected: null",
    ]


def test_the_whole_answer_may_differ() -> None:
    """A value of another kind, and an answer that is no JSON at all, are shown as they are."""
    assert differences(Expected(value={}), b"[]") == ["the answer: expected {}, answered []"]
    assert differences(Expected(value=1), b"{\xff") == ["expected 1", "answered {\\xff"]


def test_texts_differ_at_a_character() -> None:
    """Where the bytes matter, the first one that differs is shown with what stands around it."""
    [line] = differences(Expected(text='{"output":1.50}'), b'{"output":1.5}')
    assert line.startswith("from character 13: expected")
    assert "1.50" in line


def test_what_is_shown_is_bounded() -> None:
    """Many differences and long values do not fill the terminal."""
    lines = differences(Expected(value=list(range(100))), b"[" + b",".join([b'"x"'] * 100) + b"]")
    assert len(lines) == DIFFERENCES_MAX + 1
    [line] = differences(Expected(value="a" * 10_000), b'"b"')
    assert len(line) < 200
