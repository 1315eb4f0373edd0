import sys
import time
import unicodedata

import pytest

from gateway.sanitizer.characters import SUSPECTS, scan
from gateway.sanitizer.text import TEXT_CHARS_MAX, check_text

VISIBLE_FORMAT = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x13430, 0x13440)}


def test_the_table_has_every_character_of_the_hidden_categories() -> None:
    """No control, format, surrogate or noncharacter of the whole code space is missing from the table."""
    missing = []
    for code in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(code))
        noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
        hidden = category in {"Cc", "Cf", "Cs"} and code not in VISIBLE_FORMAT and chr(code) not in "\t\n\r"
        if (noncharacter or hidden) != (chr(code) in SUSPECTS) and category in {"Cc", "Cf", "Cs"}:
            missing.append(hex(code))
        if noncharacter and chr(code) not in SUSPECTS:
            missing.append(hex(code))
    assert missing == []


def test_letters_digits_and_visible_marks_are_never_suspects() -> None:
    """Of the visible categories only fillers, selectors and unassigned ignorables are in the table."""
    for char in SUSPECTS:
        category = unicodedata.category(char)
        if category[0] in "LNPSZ":
            assert "FILLER" in unicodedata.name(char)
        if category == "Mn":
            name = unicodedata.name(char)
            assert any(word in name for word in ("SELECTOR", "JOINER", "INHERENT"))


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("a\x00b", "control"),
        ("a\x7fb", "control"),
        ("é\x1b[0m", "control"),
        ("a\x85b", "control"),
        ("user\u202enimda", "bidi"),
        ("a\u2066b\u2069", "bidi"),
        ("a\u200fb", "bidi"),
        ("ad\u200bmin", "invisible"),
        ("ad\u00admin", "invisible"),
        ("ad\u200dmin", "invisible"),
        ("ad\u200cmin", "invisible"),
        ("ad\ufeffmin", "invisible"),
        ("ad\u3164min", "invisible"),
        ("a\u2060b", "invisible"),
        ("a\ufe0fb", "invisible"),
        ("x\U000e0101", "invisible"),
        ("a\U000e0041b", "invisible"),
        ("\u2764\ufe0f\ufe0f", "invisible"),
        ("\U0001f468\u200d", "invisible"),
        ("\u200d\U0001f468", "invisible"),
        ("\U0001f468\u200dadmin", "invisible"),
        ("admin\u200d\U0001f468", "invisible"),
        ("\u0645\u200cadmin", "invisible"),
        ("\U0001f468\u200d\u200d\U0001f469", "invisible"),
        ("\U0001f3f4\U000e0067\U000e0062", "invisible"),
        ("\U0001f3f4\U000e0068\U000e0069\U000e007f", "invisible"),
        ("a\ufffeb", "noncharacter"),
        ("a\U0010ffffb", "noncharacter"),
        ("a\ud800b", "surrogate"),
    ],
)
def test_what_a_reader_cannot_see_is_refused(value: str, rule: str) -> None:
    """Control, bidirectional, invisible and impossible characters are refused, each by its rule."""
    finding = scan(value)
    assert finding is not None
    assert finding.rule == rule


@pytest.mark.parametrize(
    "value",
    [
        "tab\tline\r\nend\n",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",  # family
        "\U0001f468\U0001f3ff\u200d\U0001f9b0",  # skin tone and red hair
        "\U0001f3f3\ufe0f\u200d\U0001f308",  # rainbow flag
        "\U0001f642\u200d\u2194\ufe0f",  # head shaking: an arrow is Sm
        "\u2764\ufe0f\u200d\U0001f525",  # heart on fire
        "1\ufe0f\u20e3 \u2139\ufe0f \u203c\ufe0f",  # keycap, information, exclamation
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # flag of Scotland
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, ZWNJ between joining letters
        "\u0915\u094d\u200d\u0937",  # Devanagari, ZWJ after virama
        "\u0dc1\u0dca\u200d\u0dbb\u0dd3",  # Sinhala
        "\u8fbb\U000e0100",  # ideographic variant
        "\u1820\u180b",  # Mongolian variant
        "\u0661\u06dd",  # end of ayah is format, and seen
        "\ufeffusing System;",  # byte order mark of a file
        "\u30ce\ufeff \u253b",
        "z\u0301\u0301\u0301\u0301",
        "\ue000 private, \U0001fae9 newer than this Unicode",
        "\u05e9\u05dc\u05d5\u05dd, \u4f60\u597d, \uc548\ub155, \u3053\u3093\u306b\u3061\u306f",
    ],
)
def test_honest_writing_passes(value: str) -> None:
    """Emoji sequences, joiners that a script needs, and visible characters of every script pass."""
    assert scan(value) is None


def test_text_is_bounded() -> None:
    """Text of the greatest length passes, and one character more does not."""
    assert check_text("x" * TEXT_CHARS_MAX) is None
    finding = check_text("x" * (TEXT_CHARS_MAX + 1))
    assert finding is not None
    assert finding.rule == "too_long"


@pytest.mark.parametrize("unit", ["x", "é", "\u65e5", "\U0001f468\u200d"])
def test_the_scan_is_linear(unit: str) -> None:
    """Ten times the text takes no more than some forty times the time, whatever it is made of."""

    def seconds(count: int) -> float:
        value = unit * count
        began = time.thread_time()
        scan(value + "\U0001f468")
        return time.thread_time() - began

    short = min(seconds(20_000) for _ in range(3))
    assert min(seconds(200_000) for _ in range(3)) < max(short, 0.001) * 40


@pytest.mark.parametrize(
    "unit",
    ["\U0001f468\u200d", "\U0001faff\u200d", "\u2764\ufe0f\u200d", "\u0645\u200c", "1\ufe0f", "\u845b\U000e0100"],
)
def test_a_text_full_of_joiners_is_read_in_runs(unit: str) -> None:
    """A million characters, a suspect at every second or third of them, all honest: well under a second of CPU time."""
    value = unit * (1_048_576 // len(unit)) + unit[0]
    started = time.thread_time()
    assert scan(value) is None
    assert time.thread_time() - started < 0.6
