"""Redaction: what policy wants to be seen by nobody, named by JSON pointers and masked before anybody looks.

A pointer is RFC 6901, with `*` for every member or element of one level, and begins with the name of what is masked:
`/output/body/ssn` of a step, `/outcome/headers/set-cookie` of an effect. What matches nothing changes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from engine.values import JsonValue

MASK: Final = "[redacted]"
POINTERS_MAX: Final = 32
POINTERS_BYTES_MAX: Final = 4_096  # of all together: every verdict has them in its line of the log
DEPTH_MAX: Final = 32  # tokens of one
ANY: Final = "*"
_TWIN: Final = "_base64"  # how an outcome names a content that is no text: whoever sends it chooses which it is


class PointerError(ValueError):
    """A list is no list of pointers; the message says why."""


@dataclass(slots=True)
class _Node:
    """A place below the root: what is masked in it."""

    whole: bool = False
    below: dict[str, "_Node"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is masked in one value: pointers that `check_pointers` has passed, in order and each once."""

    pointers: tuple[str, ...] = ()
    _root: _Node = field(default_factory=_Node, compare=False, repr=False)

    @classmethod
    def of(cls, pointers: Iterable[str]) -> "Redaction":
        """Compile pointers of one root."""
        each = tuple(sorted(set(pointers)))
        return cls(each, _tree(_tokens(pointer)[1:] for pointer in each))

    @classmethod
    def of_outcome(cls, pointers: Iterable[str]) -> "Redaction":
        """Compile pointers into an effect's outcome: what is content there is masked in each of its two spellings."""
        each = tuple(sorted(set(pointers)))
        paths = [_tokens(pointer)[1:] for pointer in each]
        return cls(each, _tree((*paths, *([path[0] + _TWIN] for path in paths if len(path) == 1))))

    def __bool__(self) -> bool:
        """Whether there is anything to mask."""
        return bool(self.pointers)

    @property
    def names(self) -> frozenset[str]:
        """The members of the value that are masked as a whole, by name."""
        return frozenset(name for name, node in self._root.below.items() if node.whole)

    def apply(self, value: JsonValue) -> tuple[JsonValue, int]:
        """Return the value with `MASK` in every place that a pointer leads to, and how many that are.

        The value itself is left as it is; what it shares with the result is not masked. A place that is masked already
        counts for nothing, so that twice is as once.
        """
        return _masked(value, [self._root]) if self.pointers else (value, 0)


NO_REDACTION: Final = Redaction()


def check_pointers(pointers: Sequence[str], root: str) -> None:
    """Return if these are pointers into `root`, within the bounds.

    Raises:
        PointerError: one is none, leads elsewhere or too deep, or they are too many.
    """
    if len(pointers) > POINTERS_MAX:
        raise PointerError(f"it has more than {POINTERS_MAX} pointers")
    if sum(len(pointer.encode()) for pointer in pointers) > POINTERS_BYTES_MAX:
        raise PointerError(f"its pointers have more than {POINTERS_BYTES_MAX} bytes together")
    for pointer in pointers:
        tokens = _tokens(pointer)
        if tokens[0] != root:
            raise PointerError(f"a pointer does not begin with /{root}")
        if len(tokens) > DEPTH_MAX:
            raise PointerError(f"a pointer has more than {DEPTH_MAX} tokens")


def _tokens(pointer: str) -> list[str]:
    """Return the tokens of a pointer, its root first."""
    if not pointer.startswith("/"):
        raise PointerError("a pointer begins with a slash")
    tokens = pointer[1:].split("/")
    for token in tokens:
        if "~" in token.replace("~0", "").replace("~1", ""):
            raise PointerError("in a pointer, ~ is written ~0, and / within a name ~1")
    return [token.replace("~1", "/").replace("~0", "~") for token in tokens]


def _tree(paths: Iterable[Sequence[str]]) -> _Node:
    """Return the root of the places that paths lead to."""
    root = _Node()
    for path in paths:
        node = root
        for token in path:
            node = node.below.setdefault(token, _Node())
        node.whole = True
    return root


def _masked(value: JsonValue, nodes: Sequence[_Node]) -> tuple[JsonValue, int]:
    """Mask one value by what holds for it; the depth of the recursion is that of the pointers."""
    if any(node.whole for node in nodes):
        return MASK, int(value != MASK)
    if isinstance(value, dict):
        changed, count = dict(value), 0
        for name in _names(nodes, value):
            changed[name], masked = _masked(value[name], _of(nodes, name))
            count += masked
        return (changed, count) if count else (value, 0)
    if isinstance(value, list):
        elements, count = list(value), 0
        names = {str(at): at for at in range(len(value))} if any(ANY in node.below for node in nodes) else None
        for name, at in (names or _indices(nodes, len(value))).items():
            elements[at], masked = _masked(value[at], _of(nodes, name))
            count += masked
        return (elements, count) if count else (value, 0)
    return value, 0


def _of(nodes: Sequence[_Node], name: str) -> list[_Node]:
    """Return what holds for one member or element."""
    return [node.below[key] for node in nodes for key in {name, ANY} if key in node.below]


def _names(nodes: Sequence[_Node], value: dict[str, JsonValue]) -> Iterable[str]:
    """Return the members that any pointer goes on with."""
    if any(ANY in node.below for node in nodes):
        return value
    return {name for node in nodes for name in node.below if name in value}


def _indices(nodes: Sequence[_Node], count: int) -> dict[str, int]:
    """Return the elements that any pointer names: RFC 6901 writes an index without leading zeros."""
    wanted = {name for node in nodes for name in node.below if name.isascii() and name.isdecimal()}
    return {name: int(name) for name in wanted if str(int(name)) == name and int(name) < count}
