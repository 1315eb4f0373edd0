"""Which characters a reader cannot see, or is misled by, and where some of them are honest.

General categories and names come from `unicodedata`; properties that it lacks are spelled out with their source.
Sources: Unicode Character Database, PropList.txt (Other_Default_Ignorable_Code_Point,
Prepended_Concatenation_Mark); UTS #51 (emoji sequences); RFC 5892, appendix A.1 and A.2 (joiners);
"Trojan Source", CVE-2021-42574 (bidirectional controls).
"""

import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from gateway.sanitizer.finding import Finding
from gateway.sanitizer.joining import JOINING, honest_joiner, is_pictograph
from gateway.sanitizer.selectors import FLAGS, SELECTORS, TAGS, honest_selector, honest_tag

_CONTROL: Final = Finding(
    "control", "holds a control character; only tab, line feed and carriage return may stand in text"
)
_BIDI: Final = Finding("bidi", "holds a character that reorders what a reader sees; remove it")
_INVISIBLE: Final = Finding("invisible", "holds a character that a reader cannot see; remove it")
_NONCHARACTER: Final = Finding("noncharacter", "holds a code point that is no character; remove it")
_SURROGATE: Final = Finding(
    "surrogate", "holds half of a surrogate pair, which is no character; send well-formed Unicode"
)

# The planes that hold assigned characters; beyond them are private use and unassigned code points, which hide
# nothing, and the noncharacters at each plane's end. (Asking `unicodedata` of all 1.1 million takes 0.4 s.)
_ASSIGNED: Final = (*range(0x20000), *range(0xE0000, 0xE1000))
_NONCHARACTERS: Final = (
    *range(0xFDD0, 0xFDF0),
    *(plane << 16 | low for plane in range(17) for low in (0xFFFE, 0xFFFF)),
)

# White space that text is made of, as in XML 1.0, 2.2 Char.
_TEXT_WHITE_SPACE: Final = frozenset("\t\n\r")

_BIDI_CLASSES: Final = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
_BIDI_MARKS: Final = frozenset(
    "\u061c\u200e\u200f"
)  # the implicit marks: letters to the bidi algorithm, invisible to us

# Category Cf, and yet seen: Prepended_Concatenation_Mark, and the Egyptian controls that draw quadrats and cartouches.
_VISIBLE_FORMAT: Final = frozenset(
    chr(c)
    for block in (
        range(0x0600, 0x0606), (0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0x110BD, 0x110CD), range(0x13430, 0x13440),
    )
    for c in block
)  # fmt: skip

# Other_Default_Ignorable_Code_Point: drawn as nothing, whatever their category, the unassigned ones included.
_DEFAULT_IGNORABLE: Final = frozenset(
    chr(c)
    for block in (
        (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x3164, 0xFFA0),
        range(0xFFF0, 0xFFF9),
        range(0xE0000, 0xE1000),
    )
    for c in block
)


def _suspects() -> dict[str, Finding]:
    """Return every character that is refused unless its place makes it honest."""
    found: dict[str, Finding] = dict.fromkeys(_DEFAULT_IGNORABLE | SELECTORS, _INVISIBLE)
    found |= dict.fromkeys(map(chr, _NONCHARACTERS), _NONCHARACTER)
    for char in map(chr, _ASSIGNED):
        category = unicodedata.category(char)
        if category == "Cc" and char not in _TEXT_WHITE_SPACE:
            found[char] = _CONTROL
        elif category == "Cf" and char not in _VISIBLE_FORMAT:
            is_bidi = char in _BIDI_MARKS or unicodedata.bidirectional(char) in _BIDI_CLASSES
            found[char] = _BIDI if is_bidi else _INVISIBLE
        elif category == "Cs":
            found[char] = _SURROGATE
    return found


def _character_class(chars: Iterable[str]) -> str:
    """Return a regular expression's class of `chars`, as ranges."""
    codes = sorted(map(ord, chars))
    parts: list[str] = []
    first = last = codes[0]
    for code in (*codes[1:], sys.maxunicode + 2):
        if code != last + 1:
            parts.append(f"\\U{first:08x}-\\U{last:08x}")
            first = code
        last = code
    return f"[{''.join(parts)}]"


SUSPECTS: Final = _suspects()
_SUSPECT: Final = re.compile(_character_class(SUSPECTS))
_ASCII_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _honest_run() -> str:
    """Return the pattern of what often follows an honest suspect and is as honest: whole emoji, words with joiners.

    It saves the look at each suspect in a text that is full of them, and accepts nothing that `HONEST_PLACES`
    would not: a law in tests/property/test_sanitizer_laws.py.
    """
    is_one = is_pictograph.__wrapped__  # each is asked once: keeping the answers would take most of the time
    pictographs = [char for char in map(chr, range(0x80, 0x20000)) if is_one(char)]
    pictograph = _character_class(pictographs)
    symbol = _character_class(char for char in pictographs if unicodedata.category(char) != "Cn")
    letter = _character_class(JOINING - SUSPECTS.keys())
    joined = rf"{pictograph}[\U0001f3fb-\U0001f3ff]?\u200d(?={pictograph})|{letter}\u200c(?={letter})"
    styled = rf"{symbol}(?:\ufe0f(?:\u200d(?={pictograph}))?|[\ufe00-\ufe0d])|[0-9#*]\ufe0f"
    varied = r"[\u4e00-\u9fa5][\U000e0100-\U000e01ef]|[\u1820-\u1842][\u180b-\u180d]"
    return rf"(?>(?:{joined}|{styled}|{varied}|{'|'.join(FLAGS)}| \ufeff(?= ))*)"


_HONEST_RUN: Final = re.compile(_honest_run())


def scan(value: str) -> Finding | None:
    """Return the first character of `value` that no reader can see or trust; linear in its length.

    Some are honest in their place, and pass there: joiners inside emoji and in the scripts that need them, one
    variation selector after a character that takes one, the tags of the three flags, and a byte order mark.
    """
    if value.isascii():
        return _CONTROL if _ASCII_CONTROL.search(value) else None
    at = 0
    while match := _SUSPECT.search(value, at):
        char = match[0]
        is_honest = HONEST_PLACES.get(char)
        if is_honest is None or not is_honest(value, match.start()):
            return SUSPECTS[char]
        run = _HONEST_RUN.match(value, match.end())
        at = run.end() if run is not None else match.end()
    return None


def _honest_mark(value: str, at: int) -> bool:
    """Return whether the byte order mark at `at` begins a document (Unicode 23.8), or hides nothing in a word."""
    return at == 0 or value[at + 1 : at + 2].isspace()


# How the neighbours of a suspect are asked whether they call for it; what is not here is honest nowhere.
HONEST_PLACES: Final[Mapping[str, Callable[[str, int], bool]]] = {
    **dict.fromkeys("\u200c\u200d", honest_joiner),
    **dict.fromkeys(SELECTORS, honest_selector),
    **dict.fromkeys(TAGS, honest_tag),
    "\ufeff": _honest_mark,
}
