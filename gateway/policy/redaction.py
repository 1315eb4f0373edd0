"""Redaction: what policy wants to be seen by nobody, named by JSON pointers and masked before anybody looks.

A pointer is RFC 6901, with `*` for every member or element of one level, and begins with the name of what is masked:
`/output/body/ssn` of a step, `/outcome/headers/set-cookie` of an effect. What matches nothing changes nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

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
        """The members of the value that are masked as a whole, by name; `*` where each of them is."""
        if self._root.whole:
            return frozenset({ANY})
        return frozenset(name for name, node in self._root.below.items() if node.whole)

    def apply(self, value: JsonValue) -> tuple[JsonValue, int]:
        """Return the value with `MASK` in every place that a pointer leads to, and how many that are.

        The value itself is left as it is; what it shares with the result is not masked. A place that is masked already
        counts for nothing, so that twice is as once.
        """
        root = _Place([self._root])
        if root.whole:
            return MASK, int(value != MASK)
        return _masked(value, root) if self.pointers and isinstance(value, dict | list) else (value, 0)


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


def _masked(value: dict[str, JsonValue] | list[JsonValue], place: "_Place") -> tuple[JsonValue, int]:
    """Mask what is below a value by what holds for it; the depth of the recursion is that of the pointers."""
    changed: Any = None
    count = 0
    for key, member, below in place.within(value):
        if below.whole:
            masked: JsonValue = MASK
            more = int(member != MASK)
        elif isinstance(member, dict | list):
            masked, more = _masked(member, below)
        else:
            continue
        if more:
            changed = value.copy() if changed is None else changed
            changed[key] = masked
            count += more
    return (changed, count) if count else (value, 0)


class _Place:
    """The nodes that hold for one place of a value; what holds below it is worked out where a value goes there."""

    __slots__ = ("_every", "_named", "_nodes", "whole")

    def __init__(self, nodes: Sequence[_Node]) -> None:
        self.whole = any(node.whole for node in nodes)
        self._nodes = nodes
        self._every: _Place | None = None  # of members and elements that no pointer names
        self._named: dict[str, _Place] | None = None

    def within(self, value: dict[str, JsonValue] | list[JsonValue]) -> Iterator[tuple[str | int, JsonValue, "_Place"]]:
        """Yield the members or elements that any pointer goes on with, and what holds for each."""
        named = self._expanded() if self._named is None else self._named
        every = self._every
        if isinstance(value, dict):
            if every is None:
                yield from ((name, value[name], below) for name, below in named.items() if name in value)
            else:
                yield from ((name, member, named.get(name, every)) for name, member in value.items())
        elif every is None:
            for name, below in named.items():  # RFC 6901 writes an index without leading zeros
                if name.isascii() and name.isdecimal() and str(at := int(name)) == name and at < len(value):
                    yield at, value[at], below
        else:
            for at, element in enumerate(value):
                yield at, element, named.get(str(at), every) if named else every

    def _expanded(self) -> dict[str, "_Place"]:
        every = [node.below[ANY] for node in self._nodes if ANY in node.below]
        names = {name for node in self._nodes for name in node.below if name != ANY}
        self._every = _Place(every) if every else None
        self._named = {
            name: _Place([*every, *(node.below[name] for node in self._nodes if name in node.below)]) for name in names
        }
        return self._named
