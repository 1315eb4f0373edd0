r"""Literal patterns of `regex.match`, `glob.match` and `sprintf` that OPA and regorus read alike.

Go's RE2 and Rust's regex differ in `\d \w \s \b` (ASCII there, Unicode here), in classes within classes, in `&&`,
in `{` without a number and in repeated repetition; the glob libraries differ in `?`, `[...]` and escapes. What is left
is enough for names, paths and hosts.
"""

import re
from typing import Final

from gateway.policy.supplied.globs import compiled
from gateway.policy.supplied.operands import OperandError

_REPEAT_MAX: Final = 1_000  # Go refuses more
_CLASS_CHARS: Final = r"[A-Za-z0-9 _.,:;=/@%+*?$!#'\"<>(){}|^-]|\\[\]\[\\.^/-]"
_REGEX_TOKEN: Final = re.compile(
    rf"""
      \\[.+*?()|\[\]{{}}^$\\/-]                 # an escaped sign
    | \[\^?(?!\])(?:(?!--)(?:{_CLASS_CHARS}))+\]   # a class of plain characters and ranges
    | \(\?:                                     # a group that captures nothing
    | [()|^$.]
    | [A-Za-z0-9 _,:;=/@%!#'"<>~&-]
    """,
    re.VERBOSE,
)
_REPEAT: Final = re.compile(r"(?:[*+?]|\{(\d{1,4})(?:,(\d{1,4})?)?\})\??")
_VERB: Final = re.compile(r"%(.?)")


def regex_fault(pattern: str) -> str | None:
    """Return what in `pattern` the engines may read differently, or None."""
    position, repeatable, depth = 0, False, 0
    while position < len(pattern):
        if repeat := _REPEAT.match(pattern, position):
            if not repeatable:
                return f"a repetition of nothing, or of a repetition, at {position}"
            if any(int(bound) > _REPEAT_MAX for bound in repeat.groups() if bound):
                return f"a repetition over {_REPEAT_MAX} at {position}"
            position, repeatable = repeat.end(), False
            continue
        token = _REGEX_TOKEN.match(pattern, position)
        if token is None:
            return f"{pattern[position : position + 2]!r} at {position}"
        depth += token[0].startswith("(")
        depth -= token[0] == ")"
        if depth < 0:
            return f"a parenthesis too many at {position}"
        position, repeatable = token.end(), token[0] not in {"(", "(?:", "|", "^", "$"}
    return "a parenthesis that does not close" if depth else _compile_fault(pattern)


def glob_fault(pattern: str) -> str | None:
    """Return what in `pattern` the engines may read differently, or None; patterns from data are held to the same."""
    try:
        compiled(pattern, "")
    except OperandError as error:
        return str(error)
    return None


def format_fault(text: str, arguments: int) -> str | None:
    """Return why `text` is no format of `arguments` values that the engines read alike, or None."""
    verbs = [verb[1] for verb in _VERB.finditer(text.replace("%%", ""))]
    if unknown := [verb for verb in verbs if verb not in {"s", "d", "v"}]:
        return f"the verb %{unknown[0]} (use %s, %d or %v)"
    return None if len(verbs) == arguments else f"{len(verbs)} verbs for {arguments} values"


def _compile_fault(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except re.error as error:
        return str(error)
    return None
