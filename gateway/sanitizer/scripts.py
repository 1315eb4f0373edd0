"""Which writing system a character belongs to, as its Unicode name says: `unicodedata` has no Script property.

Source: UTS #39, 5.1 (single-script, with the augmented sets for Chinese, Japanese and Korean).
"""

import unicodedata
from functools import lru_cache
from typing import Final

_HAN: Final = frozenset({"HAN"})
_KANA: Final = frozenset({"HIRAGANA", "KATAKANA"})
_ARABIC: Final = frozenset({"ARABIC"})
_COMMON: Final = frozenset[str]()

# First words of names that are not themselves the script's.
_FIRST_WORDS: Final = {
    "CJK": _HAN,
    "IDEOGRAPHIC": _HAN,
    "KATAKANA-HIRAGANA": _KANA,
    "ARABIC-INDIC": _ARABIC,
    "EXTENDED": _ARABIC,  # EXTENDED ARABIC-INDIC DIGIT
    "COMBINING": _COMMON,
}

# Scripts that one word may mix: UTS #39, augmented script sets Jpan, Kore and Hanb.
_WRITING_SYSTEMS: Final = (
    frozenset({"HAN", "HIRAGANA", "KATAKANA"}),
    frozenset({"HAN", "HANGUL"}),
    frozenset({"HAN", "BOPOMOFO"}),
)


@lru_cache(maxsize=8_192)
def scripts_of(char: str) -> frozenset[str]:
    """Return the scripts that `char` may belong to; empty means that it goes with every script."""
    if char.isascii() and not char.isalpha():
        return _COMMON
    first = unicodedata.name(char, "UNASSIGNED").split(" ", 1)[0]
    return _FIRST_WORDS.get(first, frozenset({first}))


def is_single_script(value: str) -> bool:
    """Return whether one writing system has all of `value`'s characters."""
    seen: set[frozenset[str]] = {scripts for char in value if (scripts := scripts_of(char))}
    union = frozenset[str]().union(*seen)
    if len(union) <= 1:
        return True
    return any(union <= system for system in _WRITING_SYSTEMS)
