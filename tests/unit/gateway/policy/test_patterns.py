import pytest

from gateway.policy.patterns import format_fault, glob_fault, regex_fault


@pytest.mark.parametrize(
    "pattern",
    ["^[a-z0-9._/-]+$", "^a{2,3}$", "a+?", r"^v[0-9]+\.[0-9]+$", "(?:a|b)*c", "^[^/]+/[^/]+$", r"[\[\]]", "a.c", ""],
)
def test_patterns_that_both_engines_read_alike_pass(pattern: str) -> None:
    """Names, paths and versions can be matched."""
    assert regex_fault(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    [
        r"\d", r"\w+", r"\s", r"\bfoo\b", r"\pL", r"\x41", r"\z", "(?i)a", "(?P<x>a)", "[[:alpha:]]", "[a[b]]",
        "[a-c&&b]", "[a--b]", "[a~~b]", "a**", "a{2}{3}", "a{1001}", "a{", "a{,3}", "*a", "(", ")", "a)", "(a", "[",
        "[]a]", "é", "a\nb", "[z-a]", "a\\",
    ],
)  # fmt: skip
def test_patterns_that_they_read_differently_are_named(pattern: str) -> None:
    """Classes, flags and repetitions whose meaning differs between Go and Rust are a fault, with its place."""
    assert regex_fault(pattern)


@pytest.mark.parametrize("pattern", ["", "*.example.com", "out/**", "a-b_c:1@x"])
def test_plain_globs_pass(pattern: str) -> None:
    """Stars and names can be matched."""
    assert glob_fault(pattern) is None


@pytest.mark.parametrize("pattern", ["a?", "[ab]", "{a,b}", r"a\*", "é", "***", "a\n"])
def test_other_globs_are_named(pattern: str) -> None:
    """`?`, classes, alternatives and escapes differ between the glob libraries."""
    assert glob_fault(pattern)


def test_formats() -> None:
    """A format has the verbs that agree, and one value for each."""
    assert format_fault("%s is 100%% of %d, %v", 3) is None
    assert format_fault("plain", 0) is None
    assert "values" in (format_fault("%s", 2) or "")
    assert "%x" in (format_fault("%x", 1) or "")
    assert format_fault("%.2f", 1)
    assert format_fault("%", 0)
