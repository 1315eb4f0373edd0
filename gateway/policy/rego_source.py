"""Rego source before any parser sees it: characters that two readers could take differently, and nesting.

regorus parses nested arrays and objects in time that doubles with each level (measured: 16 levels 1.3 s, 40 levels
never), and 3,000 nested calls overflow its stack and end the process. So the depth is bounded by a scan that does
nothing but count brackets outside strings and comments.
"""

import re
from typing import Final

from gateway.errors import PolicyInvalidError

NESTING_MAX: Final = 10  # square brackets and braces; a comprehension in an object in a rule's body is three
PARENTHESES_MAX: Final = 32

# Controls but tab and LF, half surrogates, and what a reader of the policy would not see: bidi and zero-width signs.
_FORBIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
TOKEN: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`|#[^\n]*|[\[\]{}()"`]')
CHAIN_MAX: Final = 256  # operators and steps of one expression, with those of what is in its brackets
_PART: Final = re.compile(
    r'"(?:[^"\\\n]|\\.)*"|`[^`]*`|(?P<comment>#[^\n]*)|(?P<open>[\[{(])|(?P<close>[\]})])|(?P<end>[,;])'
    r"|(?P<operator>\bin\b|[-+*/%|&=<>!:.]+)|[0-9]+\.[0-9]+|\w+"
)
_CLOSES: Final = {"]": "[", "}": "{", ")": "("}
_LIMITS: Final = {"[": (NESTING_MAX, "[{"), "{": (NESTING_MAX, "[{"), "(": (PARENTHESES_MAX, "(")}
_OPENS: Final = frozenset(_LIMITS)


def check_source(path: str, text: str) -> None:
    """Return if `text` is safe to parse.

    Raises:
        PolicyInvalidError: `policy.character`, `policy.too_deep`, `policy.syntax`.
    """
    if found := _FORBIDDEN.search(text):
        message = (
            f"the character U+{ord(found[0]):04X} may not stand in a policy (lines end in LF, escapes are \\uXXXX)"
        )
        raise PolicyInvalidError(message, code="policy.character", file=path, line=_line(text, found.start()))
    depth = dict.fromkeys(_LIMITS, 0)
    for token in TOKEN.finditer(text):
        kind = token[0]
        if kind in _OPENS:
            depth[kind] += 1
            if sum(depth[like] for like in _LIMITS[kind][1]) > _LIMITS[kind][0]:
                message = f"{kind} nests over {_LIMITS[kind][0]} deep; give the inner part a rule of its own"
                raise PolicyInvalidError(message, code="policy.too_deep", file=path, line=_line(text, token.start()))
        elif kind in _CLOSES:
            depth[_CLOSES[kind]] = max(0, depth[_CLOSES[kind]] - 1)
        elif kind in {'"', "`"}:
            message = "a string does not end"
            raise PolicyInvalidError(message, code="policy.syntax", file=path, line=_line(text, token.start()))
    _check_chains(path, text)


def _check_chains(path: str, text: str) -> None:
    """Refuse what regorus' parser would nest too deep without a bracket: 4,000 times `+ 1` end the process."""
    groups = [[0, 0]]  # of each open bracket: the length of the expression here, and of the longest before it
    after_operand = False
    for part in _PART.finditer(text):
        kind = part.lastgroup
        if kind == "comment":
            continue
        if kind == "open":
            groups[-1][0] += after_operand
            groups.append([0, 0])
        elif kind == "close" and len(groups) > 1:
            groups[-2][0] += max(groups.pop()) + 1
        elif kind == "operator":
            groups[-1][0] += 1
        elif kind == "end" or after_operand:
            groups[-1] = [0, max(groups[-1])]
        if groups[-1][0] > CHAIN_MAX:
            message = f"an expression of over {CHAIN_MAX} operators and steps; give a part of it a name"
            raise PolicyInvalidError(message, code="policy.too_deep", file=path, line=_line(text, part.start()))
        after_operand = kind in {None, "close"}


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1
