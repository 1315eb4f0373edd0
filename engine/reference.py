"""References: `${variables.x.y}`, `${steps.ID.output.a.0}`, `${item.x}`, parsed once, from the mission's own text only.

A string that is exactly one reference becomes the value itself, with its type; inside a longer string, scalars are
written as JSON writes them (strings bare). `$${` stands for a literal `${`. What a reference brings in is never
scanned again, so an output that says `${steps.…}` stays text. Parameters without a reference have no template and
cost nothing when their step runs.

`${secrets.NAME}` is a reference whose value never comes here: `resolve` leaves it as it is written, or puts there what
its caller has for it. A text that was brought in may say the same, so who hands out secrets must not look for them in
resolved parameters, but give `resolve` a handle that nobody can guess.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import orjson

from engine.errors import RefusalError, StepError
from engine.findings import Path, field_name
from engine.values import JsonObject, JsonValue

RESOLVED_BYTES_MAX = 4 * 1024 * 1024  # JSON that references may bring into one step's parameters

Report: TypeAlias = Callable[[Path, str, str], None]  # path, code, message

_OPENING = re.compile(r"\$\$\{|\$\{")
_SHAPE = re.compile(r"\$\{([A-Za-z0-9_-]{1,128}(?:\.[A-Za-z0-9_-]{1,256}){0,32})\}")
_SYNTAX = (
    "after ${ comes variables.NAME, steps.ID.output or item, and a path, or secrets.NAME, and }; "
    "a literal ${ is written $${"
)
_ALONE = "one reference is expected here, such as ${steps.ID.output}, and nothing beside it"
_STEP_WORDS = 3  # steps, ID, output
_NAME_WORDS = 2  # variables or secrets, NAME


class Scope(Protocol):
    """What references can see while a mission runs; `engine.context.ExecutionContext` is one."""

    @property
    def variables(self) -> Mapping[str, JsonValue]:
        """The mission's variables."""

    @property
    def step_outputs(self) -> Mapping[str, JsonValue]:
        """Step id to output, of every step that has finished."""


@dataclass(frozen=True, slots=True)
class ItemScope:
    """What references of one item of a fan-out see: everything that the step sees, and `${item}`."""

    context: Scope
    item: JsonValue

    @property
    def variables(self) -> Mapping[str, JsonValue]:
        """The mission's variables."""
        return self.context.variables

    @property
    def step_outputs(self) -> Mapping[str, JsonValue]:
        """Step id to output, of every step that has finished."""
        return self.context.step_outputs


@dataclass(frozen=True, slots=True)
class Reference:
    """One `${…}`: a variable, a step's output, the item or a secret, and the way into its value."""

    source: Literal["variables", "steps", "item", "secrets"]
    name: str  # of the variable or the secret, or the step's id; empty for the item
    path: tuple[str, ...] = ()  # object keys; in an array, a decimal index

    def __str__(self) -> str:
        """Return the reference as it is written."""
        words = {"steps": (self.name, "output"), "item": ()}.get(self.source, (self.name,))
        return "${" + ".".join((self.source, *words, *self.path)) + "}"


@dataclass(frozen=True, slots=True)
class _Text:
    parts: tuple[str | Reference, ...]


@dataclass(frozen=True, slots=True)
class _Object:
    members: tuple[tuple[str, "_Node"], ...]


@dataclass(frozen=True, slots=True)
class _Array:
    items: tuple["_Node", ...]


@dataclass(frozen=True, slots=True)
class _Plain:
    value: JsonValue  # a subtree without references, shared and not copied


_Node: TypeAlias = Reference | _Text | _Object | _Array | _Plain


@dataclass(frozen=True, slots=True)
class Template:
    """Parameters with at least one reference or escape, parsed."""

    uses: tuple[tuple[Path, Reference], ...]  # where in the parameters, and what
    _root: _Node

    @property
    def references(self) -> Iterator[Reference]:
        """Every reference, in document order; one that is used twice comes twice."""
        return (reference for _, reference in self.uses)


def has_reference(text: str) -> bool:
    """Return whether `text` holds a `${` that is not escaped as `$${`."""
    return "${" in text and any(m.group() == "${" for m in _OPENING.finditer(text))


def parse(parameters: JsonObject, report: Report | None = None) -> Template | None:
    """Return the template of `parameters`, or None when no string of it holds `${`.

    With `report`, every faulty reference is told to it and left out; the template must then not be used.

    Raises:
        RefusalError: a faulty reference (code `reference.…`), where no `report` is given.
    """
    if b"${" not in orjson.dumps(parameters):  # one pass in C; most parameters hold none
        return None
    parser = _Parser(report or _refuse)
    root = parser.node(parameters, ())
    return None if isinstance(root, _Plain) else Template(tuple(parser.uses), root)


def _refuse(path: Path, code: str, message: str) -> None:
    raise RefusalError(f"{field_name(path)}: {message}", code=code)


class _Parser:
    """One walk over the parameters. Its depth is that of the document, which `engine.document` bounds."""

    def __init__(self, report: Report) -> None:
        self.uses: list[tuple[Path, Reference]] = []
        self._report = report

    def node(self, value: JsonValue, path: Path) -> _Node:
        if isinstance(value, str):
            return self._text(value, path) if "${" in value else _Plain(value)
        if isinstance(value, Mapping):
            for key in value:
                if "${" in key:
                    self._report((*path, key), "reference.syntax", "a key cannot hold a reference, only a value can")
            members = tuple((key, self.node(item, (*path, key))) for key, item in value.items())
            return _Plain(value) if all(type(node) is _Plain for _, node in members) else _Object(members)
        if isinstance(value, list | tuple):
            items = tuple(self.node(item, (*path, at)) for at, item in enumerate(value))
            return _Plain(value) if all(type(node) is _Plain for node in items) else _Array(items)
        return _Plain(value)

    def _text(self, text: str, path: Path) -> _Node:
        parts: list[str | Reference] = []
        done = 0
        while opening := _OPENING.search(text, done):
            parts.append(text[done : opening.start()])
            done = opening.end()
            if opening.group() == "$${":
                parts.append("${")
                continue
            shape = _SHAPE.match(text, opening.start())
            reference = _named(shape.group(1).split(".")) if shape else None
            if reference is not None:
                self.uses.append((path, reference))
                parts.append(reference)
            else:
                self._report(path, "reference.syntax", _SYNTAX)
            done = shape.end() if shape else done
        parts.append(text[done:])
        kept = tuple(part for part in parts if part != "")
        return kept[0] if len(kept) == 1 and isinstance(kept[0], Reference) else _Text(kept)


def parse_alone(text: str, path: Path, report: Report) -> Reference | None:
    """Return the reference that `text` is, as a whole; what is none is told to `report`."""
    shape = _SHAPE.fullmatch(text)
    reference = _named(shape.group(1).split(".")) if shape else None
    if reference is None:
        report(path, "reference.syntax", _ALONE)
    return reference


def refuse_references(value: JsonValue, path: Path, report: Report) -> None:
    """Tell `report` of each text of `value` that could be taken for a reference, where none can stand.

    There is no escape in such a place: a reader would have to know whether it is one, to know what is meant.
    """
    if isinstance(value, str):
        if "${" in value:
            report(path, "reference.not_here", "neither a reference nor the text ${ can stand here; use a variable")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            refuse_references(key, (*path, key), report)
            refuse_references(item, (*path, key), report)
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            refuse_references(item, (*path, at), report)


def _named(words: list[str]) -> Reference | None:
    match words[0]:
        case "variables" if len(words) >= _NAME_WORDS:
            return Reference("variables", words[1], tuple(words[2:]))
        case "steps" if len(words) >= _STEP_WORDS and words[2] == "output":
            return Reference("steps", words[1], tuple(words[3:]))
        case "item":
            return Reference("item", "", tuple(words[1:]))
        case "secrets" if len(words) == _NAME_WORDS:
            return Reference("secrets", words[1])
        case _:
            return None


def resolve(
    template: Template,
    scope: Scope,
    *,
    bytes_max: int = RESOLVED_BYTES_MAX,
    secret: Callable[[Reference], str] = str,
) -> JsonValue:
    """Return the parameters with every reference replaced by its value; the template stays as it is.

    Args:
        template: the parameters, parsed.
        scope: what there is; an `ItemScope` where the step is run for an item.
        bytes_max: bytes of JSON that may be brought in.
        secret: returns the text that stands for a secret from here on; the reference itself, where nothing is given.

    Raises:
        StepError: a path that does not exist (`reference.unresolved`), an object or array inside a longer string
            (`reference.not_scalar`), or more than `bytes_max` of JSON brought in (`reference.too_large`).
    """
    return _Resolver(scope, bytes_max, secret)(template._root)  # noqa: SLF001 - the parsed form is this module's own


class _Resolver:
    """One resolution. It counts what it brings in: many references to one large output are a bomb otherwise."""

    def __init__(self, scope: Scope, bytes_left: int, secret: Callable[[Reference], str]) -> None:
        self._scope = scope
        self._bytes_left = bytes_left
        self._secret = secret

    def __call__(self, node: _Node) -> JsonValue:
        match node:
            case _Plain(value):
                return value
            case Reference():
                return self._secret(node) if node.source == "secrets" else self._counted(node)[0]
            case _Object(members):
                return {key: self(member) for key, member in members}
            case _Array(items):
                return [self(item) for item in items]
            case _Text(parts):
                return "".join(part if isinstance(part, str) else self._written(part) for part in parts)

    def _counted(self, reference: Reference) -> tuple[JsonValue, bytes]:
        value = lookup(reference, self._scope)
        written = orjson.dumps(value)
        self._bytes_left -= len(written)
        if self._bytes_left < 0:
            message = f"{reference}: the references of this step bring in too much data"
            raise StepError(message, code="reference.too_large")
        return value, written

    def _written(self, reference: Reference) -> str:
        if reference.source == "secrets":
            return self._secret(reference)
        value, written = self._counted(reference)
        if isinstance(value, str):
            return value
        if isinstance(value, Mapping | list | tuple):
            message = f"{reference}: an object or an array cannot be part of a longer string"
            raise StepError(message, code="reference.not_scalar")
        return written.decode()


def lookup(reference: Reference, scope: Scope) -> JsonValue:
    """Return the value that `reference` names.

    Raises:
        StepError: there is no such value (`reference.unresolved`), of an item where none is run (`reference.no_item`).
    """
    value = _beginning(reference, scope)
    for depth, word in enumerate(reference.path):
        if isinstance(value, Mapping) and word in value:
            value = value[word]
        elif isinstance(value, list | tuple) and _index(word) < len(value):
            value = value[_index(word)]
        else:
            parent = Reference(reference.source, reference.name, reference.path[:depth])
            raise StepError(f"{reference}: {parent} has no {word!r}", code="reference.unresolved")
    return value


def _beginning(reference: Reference, scope: Scope) -> JsonValue:
    """Return the value that the path of `reference` leads into."""
    if reference.source == "item":
        if not isinstance(scope, ItemScope):
            raise StepError(f"{reference}: the step is run for no item", code="reference.no_item", retryable=False)
        return scope.item
    values = scope.variables if reference.source == "variables" else scope.step_outputs
    if reference.source == "secrets" or reference.name not in values:
        raise StepError(f"{reference}: there is no such value", code="reference.unresolved")
    return values[reference.name]


_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


def _index(word: str) -> int:
    """Return the array index that `word` spells, or one beyond every array."""
    return int(word) if _INDEX.fullmatch(word) else 1 << 62
