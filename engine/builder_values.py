"""What stands for a value that a mission will have: references, and the conditions that are made of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol

from engine.values import JsonObject, JsonValue

_WORD: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
PATH_WORDS_MAX: Final = 29  # what a reference may hold after its longest beginning, steps.ID.output


class Marks(Protocol):
    """The builder that a reference belongs to."""

    def mark(self, ref: "Ref") -> str:
        """Return the text that stands for `ref` inside a string."""

    def note(self, subject: str, code: str, message: str) -> None:
        """Report a mistake of the line that is calling."""


class Ref:
    """A reference of one mission: `fetch.output`, and by `["body"][0]` a part of it.

    Compared with a value, or combined by `&`, `|` and `~`, it makes a `Condition`. In an f-string, and in `str`, it is
    a marker that its builder turns into the reference.
    """

    __slots__ = ("owner", "words")

    def __init__(self, owner: Marks, words: tuple[str, ...]) -> None:
        self.owner = owner
        self.words = words

    def __getitem__(self, key: str | int) -> "Ref":
        """Return the reference to one member of an object, or to one item of a list."""
        word = str(key)
        if type(key) not in {str, int} or not _WORD.fullmatch(word) or (word != key and word[0] == "-"):
            self.owner.note(repr(self), "reference.syntax", f"{key!r} cannot be part of a reference")
            return self
        return Ref(self.owner, (*self.words, word))

    __iter__ = None  # else Python would iterate by asking for [0], [1] and so on, without end

    @property
    def text(self) -> str:
        """The reference as a mission spells it."""
        return "${" + ".".join(self.words) + "}"

    @property
    def step(self) -> str | None:
        """The id of the step whose output it is; None for a variable, an item, a secret."""
        return self.words[1] if self.words[0] == "steps" else None

    def __str__(self) -> str:
        return self.owner.mark(self)

    def __format__(self, spec: str) -> str:
        """Refuse what would need the value."""
        if spec:
            raise TypeError(f"{self!r} has no value yet, so it cannot be formatted as {spec!r}")
        return self.owner.mark(self)

    def __repr__(self) -> str:
        return f"<reference {'.'.join(self.words)}>"

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{self!r} has no value yet; compare it in when=, with & | ~ between conditions")

    __hash__ = None  # type: ignore[assignment]  # two of them are not compared, they become a condition

    def __eq__(self, value: object) -> "Condition":  # type: ignore[override]
        """Return the condition that it equals `value`, as JSON does: 1 == 1.0, and True != 1."""
        return Condition("eq", self, value)

    def __ne__(self, value: object) -> "Condition":  # type: ignore[override]
        return Condition("ne", self, value)

    def __lt__(self, value: float | str) -> "Condition":
        return Condition("lt", self, value)

    def __gt__(self, value: float | str) -> "Condition":
        return Condition("gt", self, value)

    def __le__(self, value: float | str) -> "Condition":
        return ~Condition("gt", self, value)

    def __ge__(self, value: float | str) -> "Condition":
        return ~Condition("lt", self, value)

    def is_in(self, values: Sequence[JsonValue]) -> "Condition":
        """Return the condition that it equals one of `values`."""
        return Condition("in", self, list(values))

    def exists(self) -> "Condition":
        """Return the condition that there is such a value; null is one."""
        return Condition("exists", self)


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """What a step's `when` says; `&`, `|` and `~` combine."""

    operator: str
    left: "Ref | tuple[Condition, ...]"
    right: Any = None

    def __and__(self, other: "Condition") -> "Condition":
        return Condition("all", (*self._flat("all"), *other._flat("all")))

    def __or__(self, other: "Condition") -> "Condition":
        return Condition("any", (*self._flat("any"), *other._flat("any")))

    def __invert__(self) -> "Condition":
        return self.left[0] if self.operator == "not" and isinstance(self.left, tuple) else Condition("not", (self,))

    def __bool__(self) -> NoReturn:
        raise TypeError("a condition has no value yet: combine conditions with & | ~, not with and, or, not")

    def _flat(self, operator: str) -> "tuple[Condition, ...]":
        return self.left if self.operator == operator and isinstance(self.left, tuple) else (self,)

    def refs(self) -> list[Ref]:
        """Return every reference, in the order in which they stand."""
        if isinstance(self.left, Ref):
            return [self.left]
        return [ref for condition in self.left for ref in condition.refs()]

    def values(self) -> list[object]:
        """Return every value that something is compared with."""
        if isinstance(self.left, Ref):
            return [self.right]
        return [value for condition in self.left for value in condition.values()]

    def document(self) -> JsonObject:
        """Return the condition as a mission spells it."""
        if isinstance(self.left, Ref):
            return {self.operator: [self.left.text] if self.operator == "exists" else [self.left.text, self.right]}
        parts = [condition.document() for condition in self.left]
        return {self.operator: parts[0] if self.operator == "not" else parts}


def contains_ref(value: object) -> bool:
    """Return whether a reference stands anywhere in a value."""
    if isinstance(value, Mapping):
        return any(map(contains_ref, value)) or any(map(contains_ref, value.values()))
    if isinstance(value, list | tuple):
        return any(map(contains_ref, value))
    return isinstance(value, Ref)
