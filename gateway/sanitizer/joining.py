"""Where the zero-width joiners are honest: in emoji, and in scripts that cannot be written without them."""

import unicodedata
from functools import lru_cache
from typing import Final

from idna import idnadata

_ZWJ: Final = "\u200d"
_EMOJI_SELECTOR: Final = "\ufe0f"
_LOOK_BACK_MAX: Final = 8  # marks between a joiner and the letter that it belongs to
_CHARACTERS_CACHED: Final = 16_384  # more than there are pictographs, and a bound on what strangers make us keep
_VIRAMA: Final = 9  # canonical combining class
_FIRST_SKIN_TONE: Final = "\U0001f3fb"
_LAST_SKIN_TONE: Final = "\U0001f3ff"


JOINING: Final = frozenset(
    chr(code)
    for kind, ranges in idnadata.joining_types.items()
    if kind in "LDRC"
    for packed in ranges
    for code in range(packed >> 32, packed & 0xFFFFFFFF)
)


def honest_joiner(value: str, at: int) -> bool:
    """Return whether the ZWJ or ZWNJ at `at` has a visible effect on its neighbours.

    It does after a virama (RFC 5892, A.1 and A.2); a ZWNJ does between two letters that join (A.1, eased: either
    side may join on either of its sides, as Persian is typed); a ZWJ does between two pictographs (UTS #51, ED-16).
    """
    if at == 0 or at + 1 == len(value):
        return False
    before, after = value[at - 1], value[at + 1]
    if unicodedata.combining(before) == _VIRAMA:
        return True
    if value[at] == _ZWJ:
        return is_pictograph(after) and (is_pictograph(before) or is_pictograph(_before(value, at, emoji=True)))
    return after in JOINING and (before in JOINING or _before(value, at, emoji=False) in JOINING)


def _before(value: str, at: int, *, emoji: bool) -> str:
    """Return the base character before `at`, past what modifies it; "" if there is none nearby."""
    for step in range(1, min(at, _LOOK_BACK_MAX) + 1):
        char = value[at - step]
        skip = _is_emoji_modifier(char) if emoji else unicodedata.category(char) == "Mn"
        if not skip:
            return char
    return ""


def _is_emoji_modifier(char: str) -> bool:
    return char == _EMOJI_SELECTOR or _FIRST_SKIN_TONE <= char <= _LAST_SKIN_TONE


@lru_cache(maxsize=_CHARACTERS_CACHED)
def is_pictograph(char: str) -> bool:
    """Return whether `char` can be an element of an emoji ZWJ sequence: a symbol, or one reserved for new emoji."""
    if not char:
        return False
    category = unicodedata.category(char)
    return category in {"So", "Sm"} or (category == "Cn" and "\U0001f000" <= char <= "\U0001faff")
