import pytest

from gateway.sanitizer.path import PATH_BYTES_MAX, SEGMENT_BYTES_MAX, check_path


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("%2fetc%2fpasswd", "absolute"),
        ("\uff0fetc", "absolute"),
        ("..", "traversal"),
        ("a/../b", "traversal"),
        ("a/..", "traversal"),
        ("%2e%2e/a", "traversal"),
        ("%252e%252e/a", "traversal"),
        ("%%32%65%%32%65/a", "traversal"),
        ("%u002e%u002e/a", "traversal"),
        ("..%u2215a", "traversal"),
        ("\uff0e\uff0e/a", "traversal"),
        ("\u2025/a", "traversal"),
        ("\uff052e\uff052e/a", "traversal"),
        ("..\u2215a", "traversal"),
        (".\ufe0f./a", "traversal"),
        (".\ufe0f.\ufe0f/a", "traversal"),
        ("a/.%ef%b8%8f./b", "traversal"),
        ("\ufeff../a", "traversal"),
        ("%ef%bb%bf../a", "traversal"),
        ("\ufeff/etc/passwd", "absolute"),
        ("\ufeff", "absolute"),
        ("\ufeffC:/boot.ini", "drive"),
        ("a\\b", "backslash"),
        ("a%5cb", "backslash"),
        ("a\uff3cb", "backslash"),
        ("C:/boot.ini", "drive"),
        ("c%3aboot.ini", "drive"),
        ("a//b", "empty_segment"),
        ("a/", "empty_segment"),
        (".. /a", "space"),
        (" a", "space"),
        ("a\nb", "control"),
        ("a\x00b", "control"),
        ("a%00b", "control"),
        ("a\u2028b", "control"),
        ("%c0%ae%c0%ae/a", "encoding"),
        ("a%ffb", "encoding"),
        ("a%ud800b", "encoding"),
        ("invoice\u202efdp.exe", "bidi"),
        ("in\u200bvoice", "invisible"),
        ("a\ud800", "surrogate"),
        ("a/" * 2048 + "a", "too_long"),
        ("x" * 256, "segment_too_long"),
        ("%" + "25" * 20 + "2e", "encoding_depth"),
    ],
)
def test_what_could_leave_the_workspace_is_refused(value: str, rule: str) -> None:
    """A traversal, an absolute path or a hidden character is refused, as written and in every decoding."""
    finding = check_path(value)
    assert finding is not None
    assert finding.rule == rule


@pytest.mark.parametrize(
    "value",
    [
        "a",
        "./a",
        ".",
        "src/main.py",
        ".github/workflows/ci.yml",
        "report (final) [v2].pdf",
        "D'Angelo & Sons.txt",
        "\u00dcbersicht/\u65e5\u672c\u8a9e.md",
        "u\u0308ber.md",
        "version 1..2/notes...txt",
        ".../a",
        "My%20File.md",
        "100% done.txt",
        "ab:c/d:e.txt",
        "\U0001f468\u200d\U0001f469.png",
        "\u2764\ufe0f/1\ufe0f\u20e3.png",
        "x" * SEGMENT_BYTES_MAX,
        "/".join(["x" * 254] * 16),
        "-rf",
    ],
)
def test_honest_paths_are_accepted(value: str) -> None:
    """Names with spaces, dots, percent signs and any script are paths."""
    assert len(value.encode()) <= PATH_BYTES_MAX
    assert check_path(value) is None
