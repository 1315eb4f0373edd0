"""Where variation selectors and tag characters are honest: singly, after a character that takes them.

A run of them after one character is a known way to smuggle text past a reader.
Sources: StandardizedVariants.txt, emoji-variation-sequences.txt, IVD; UTS #51, ED-14a and C.1 (subdivision flags).
"""

import unicodedata
from functools import lru_cache
from typing import Final

_MONGOLIAN: Final = frozenset("\u180b\u180c\u180d\u180f")
_PRESENTATION: Final = frozenset("\ufe0e\ufe0f")  # text or emoji style
_STANDARDIZED: Final = frozenset(map(chr, range(0xFE00, 0xFE0E)))
_IDEOGRAPHIC: Final = frozenset(map(chr, range(0xE0100, 0xE01F0)))
SELECTORS: Final = _MONGOLIAN | _PRESENTATION | _STANDARDIZED | _IDEOGRAPHIC

TAGS: Final = frozenset(map(chr, range(0xE0020, 0xE0080)))
_BLACK_FLAG: Final = "\U0001f3f4"
_NAMES_CACHED: Final = 16_384
_INFORMATION: Final = "\u2139"  # the one letter that has an emoji style


def _tagged(region: str) -> str:
    return _BLACK_FLAG + "".join(chr(0xE0000 + ord(c)) for c in region) + "\U000e007f"


FLAGS: Final = tuple(map(_tagged, ("gbeng", "gbsct", "gbwls")))
_FLAG_CHARS: Final = len(FLAGS[0])


def honest_selector(value: str, at: int) -> bool:
    """Return whether the variation selector at `at` follows a character that takes it."""
    if at == 0:
        return False
    base, selector = value[at - 1], value[at]
    category = unicodedata.category(base)
    if selector in _PRESENTATION:
        return category[0] in "SPN" or base == _INFORMATION
    if selector in _STANDARDIZED:
        return not base.isascii() and category in {"Lo", "Sm", "So", "Po"}
    return _name(base).startswith("MONGOLIAN LETTER" if selector in _MONGOLIAN else "CJK ")


@lru_cache(maxsize=_NAMES_CACHED)
def _name(char: str) -> str:
    return unicodedata.name(char, "")


def honest_tag(value: str, at: int) -> bool:
    """Return whether the tag at `at` is part of the flag of England, Scotland or Wales."""
    start = value.rfind(_BLACK_FLAG, max(0, at - _FLAG_CHARS), at)
    return start >= 0 and value.startswith(FLAGS, start) and at < start + _FLAG_CHARS
