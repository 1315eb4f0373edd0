"""A file laid out anew, so that the lines that regorus looked at tell which heads and statements it looked at.

Every statement stands on a line of its own, and behind the last statement of a body one more, `true`, which is looked
at if and only if the rule has answered. The lines of that layout stand for ranges of the author's file. It changes no
answer: between tokens Rego has no lines, but that a line ends a statement.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

from gateway.policy.authoring.program import SourceText
from gateway.policy.rego_ast import COMPREHENSIONS, SCALARS, Node, ParsedModule, Path, below, split
from gateway.policy.rego_source import TOKEN

_T = TypeVar("_T")
Position: TypeAlias = tuple[int, int]  # row and column, from 1


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """Part of a file: where it begins, and the position behind it."""

    start: Position
    end: Position

    def contains(self, other: "Range") -> bool:
        """Whether all of `other` is in it."""
        return self.start <= other.start and other.end <= self.end

    def rows(self) -> range:
        """The rows that it touches."""
        return range(self.start[0], self.end[0] + 1)

    def document(self) -> dict[str, dict[str, int]]:
        """Return the range as OPA writes it."""
        (row, column), (end_row, end_column) = self.start, self.end
        return {"start": {"row": row, "col": column}, "end": {"row": end_row, "col": end_column}}


@dataclass(frozen=True, slots=True)
class Layout:
    """A file laid out anew."""

    text: str
    owners: Mapping[int, tuple[Range, ...]]  # by line of the text: what is covered once regorus has looked at the line
    exits: Mapping[int, Path]  # by line: the rule that has answered
    defaults: Mapping[int, tuple[Path, tuple[Range, ...]]]  # by line: the rule, and its default
    countable: tuple[Range, ...]  # of the author's file: what can be covered
    rows: Mapping[int, int]  # by line of the text: the row of the author's file

    def row(self, line: int) -> int | None:
        """Return the row of the author's file that a line of the text comes from."""
        return self.rows.get(line)


def lay_out(module: ParsedModule) -> Layout:
    """Return a file with every statement on a line of its own."""
    return _Layout(module).result()


@dataclass(slots=True)
class _Edit:
    """Text to put in before an offset; a break has the owner of the line that it begins."""

    offset: int
    text: str
    order: int
    owner: tuple[Range, ...] | None = None
    exit: Path | None = None
    default: tuple[Path, tuple[Range, ...]] | None = None
    copy: tuple[int, int] | None = None  # what of the file to put behind the text


_TRUE: Final = "true"
_COPY: Final = "layout__value"


@dataclass(slots=True)
class _Layout:
    """One file on its way to a layout. Offsets count bytes, as regorus' spans do."""

    module: ParsedModule
    edits: list[_Edit] = field(default_factory=list)
    countable: list[Range] = field(default_factory=list)
    path: Path = ()  # of the rule that is laid out
    raw: bytes = b""
    source: SourceText = field(init=False)
    begins: list[int] = field(default_factory=list)  # of statements that others stand before
    strings: list[tuple[int, int]] = field(default_factory=list)

    def result(self) -> Layout:
        self.raw = self.module.text.encode()
        self.source = SourceText(self.module)
        self.strings = [(start, end) for start, end, kind in _tokens(self.module.text) if kind == "string"]
        for rule in self.module.rules:
            self.path = (*self.module.package, rule.name)
            self._rule(rule.node, default=rule.default)
        return self._written()

    def _rule(self, node: Node, *, default: bool) -> None:
        span = node["span"]
        if default:
            rest = self.range(node["refr"]["Var"]["span"]["start"], self.end(span))
            word = self.range(self.start(span), span["start"] + len("default"))
            self.countable += [word, rest]
            self.line(self.start(span), ())
            self.edits[-1].default = (self.path, (word, rest))
            return
        head = split(node["head"])[1]
        head_range = self.range(self.start(head["span"]), self.end(head["span"]))
        self.line(self.start(span), ())
        self._inner(head, ())
        value = self.value_range(head)
        given = self._given(head.get("key") or (head.get("assign") or {}).get("value"))
        if not node["bodies"]:
            self._no_body(self.end(span), head_range, value, given)
            return
        for at, body in enumerate(node["bodies"]):
            if at > 0 or body["is_else"]:
                end = self.end(body["assign"]["span"]) if body["assign"] is not None else self.start(body["span"]) + 4
                head_range, value = self.range(self.start(body["span"]), end), self.value_range(body)
                self._inner(body["assign"], ())
                given = self._given((body["assign"] or {}).get("value"))
            query = body["query"]
            if query["stmts"]:
                self._body(query, head_range, given)
            else:
                self._no_body(self.end(body["span"]), head_range, value, given)

    def _no_body(self, end: int, head: Range, value: Range | None, given: tuple[int, int] | None) -> None:
        """A head alone: its body is `true`, which OPA places at the value."""
        own = (head,) if value is None else (head, value)
        self.countable += own
        self.put(end, " if {", None)
        self._copied(end, given)
        self.line(end, own)
        self.edits[-1].exit = self.path
        self.put(end, f"{_TRUE} }}", None)
        self.line(end, ())

    def _body(self, query: Node, head: Range, given: tuple[int, int] | None) -> None:
        self.countable.append(head)
        start, end = self.start(query["span"]), self.end(query["span"])
        braced = self.raw[start : start + 1] == b"{" and self.raw[end - 1 : end] == b"}" and self._is_block(query)
        if not braced:
            self.put(start, "{", None)
        self._statements(query)
        inner = end - 1 if braced else end
        self._copied(inner, given)
        self.line(inner, (head,))
        self.edits[-1].exit = self.path
        self.put(inner, _TRUE, None)
        self.line(inner, ())
        if not braced:
            self.put(end, "}", None)

    def _given(self, value: Node | None) -> tuple[int, int] | None:
        """Return where the value that a rule gives stands, unless it is sure to be there."""
        if value is None or split(value)[0] in SCALARS | COMPREHENSIONS | {"Var"}:
            return None
        return self.source.extent(value)

    def _copied(self, offset: int, given: tuple[int, int] | None) -> None:
        """Put a copy of the rule's value into its body: where it is undefined, the rule has not answered."""
        if given is not None:
            self.line(offset, ())
            self.put(offset, f"{_COPY} := ", None)
            self.edits[-1].copy = given

    def _copy(self, flat: bytearray, span: tuple[int, int]) -> bytes:
        """Return a copy on one line: what a line ended, a semicolon ends."""
        out, at = b"", span[0]
        for start in sorted(offset for offset in self.begins if span[0] < offset < span[1]):
            out += flat[at:start] + (b"" if bytes(flat[at:start]).rstrip().endswith(b";") else b"; ")
            at = start
        return out + flat[at : span[1]]

    def _is_block(self, query: Node) -> bool:
        """Whether the query's braces are its own, and not those of a set that is its one statement."""
        return bool(self.start(query["stmts"][0]["span"]) > self.start(query["span"]))

    def _statements(self, query: Node) -> None:
        self.begins += (self.start(each["span"]) for each in query["stmts"][1:])
        for statement in query["stmts"]:
            span = statement["span"]
            own = self.range(self.start(span), self.end(span))
            if "SomeVars" not in statement["literal"] and "SomeIn" not in statement["literal"]:
                self.countable.append(own)
            self.line(self.start(span), (own,))
            self._inner(statement, (own,))

    def _inner(self, node: Node | None, own: tuple[Range, ...]) -> None:
        """The queries inside of a statement or a head; what comes behind one belongs to what is around it."""
        for inner in queries(node):
            self._statements(inner)
            self.line(self.end(inner["stmts"][-1]["span"]), own)

    def value_range(self, holder: Node) -> Range | None:
        """Return the range of the value that a head or an `else` gives."""
        if (assign := holder.get("assign")) is None:
            return None
        text = self.raw[self.start(assign["span"]) : self.end(assign["span"])]
        start = self.start(assign["span"]) + len(text) - len(text.lstrip(b":= \t\n"))
        return self.range(start, self.end(assign["span"]))

    def start(self, span: Node) -> int:
        """Return where a span begins; regorus' spans of strings are without the quotes."""
        return self._string_at(span["start"], 0)

    def end(self, span: Node) -> int:
        """Return where a span ends, the closing quote included."""
        return self._string_at(span["end"], 1)

    def _string_at(self, offset: int, side: int) -> int:
        at = bisect_right(self.strings, (offset, -1)) - 1
        if at >= 0 and self.strings[at][0] < offset < self.strings[at][1]:
            return self.strings[at][side]
        return offset

    def line(self, offset: int, owner: tuple[Range, ...]) -> None:
        self.put(offset, "\n", owner)

    def put(self, offset: int, text: str, owner: tuple[Range, ...] | None) -> None:
        self.edits.append(_Edit(offset, text, len(self.edits), owner))

    def range(self, start: int, end: int) -> Range:
        return Range(self.position(start), self.position(end))

    def position(self, offset: int) -> Position:
        before = self.raw[:offset]
        row = before.count(b"\n") + 1
        return row, len(before[before.rfind(b"\n") + 1 :].decode()) + 1

    def _written(self) -> Layout:
        """Return the text: comments gone, the author's line breaks inside of rules gone, the edits put in."""
        flat = bytearray(self.raw)
        spans = [(self.start(rule.node["span"]), self.end(rule.node["span"])) for rule in self.module.rules]
        for start, end, kind in _tokens(self.module.text):
            if kind != "string":
                inside = any(first <= start < last for first, last in spans)
                flat[start:end] = b" " * (end - start) if inside else _blank(self.raw[start:end])
        out, at, line = bytearray(), 0, 1
        begun: dict[int, _Edit] = {}
        rows: dict[int, int] = {}
        for edit in sorted(self.edits, key=lambda edit: (edit.offset, edit.order)):
            piece = flat[at : edit.offset] + edit.text.encode()
            piece += self._copy(flat, edit.copy) if edit.copy is not None else b""
            out += piece
            line += piece.count(b"\n")
            at = edit.offset
            if edit.owner is not None:
                begun[line] = edit
                rows[line] = self.position(edit.offset)[0]
        out += flat[at:]
        return Layout(
            out.decode(),
            _filled({row: edit.owner or () for row, edit in begun.items()}, (), line),
            {row: edit.exit for row, edit in begun.items() if edit.exit is not None},
            {row: edit.default for row, edit in begun.items() if edit.default is not None},
            tuple(self.countable),
            _filled(rows, 1, line),
        )


def queries(node: Any) -> Iterator[Node]:
    """Yield the queries right inside a node (comprehensions, `every`), not those inside of these."""
    waiting = [node]
    while waiting:
        at = waiting.pop()
        if isinstance(at, list):
            waiting += reversed(at)
        elif isinstance(at, dict):
            if at.get("stmts") and at is not node:
                yield at
            else:
                waiting += reversed(below(at))


def _tokens(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, kind) in bytes of strings, comments and line breaks."""
    at, done = 0, 0
    for token in TOKEN.finditer(text):
        between = text[done : token.start()]
        yield from _breaks(between, at)
        at += len(between.encode())
        size = len(token[0].encode())
        if token[0][0] in '#"`' and len(token[0]) > 1:
            yield at, at + size, "comment" if token[0][0] == "#" else "string"
        at += size
        done = token.end()
    yield from _breaks(text[done:], at)


def _breaks(text: str, start: int) -> Iterator[tuple[int, int, str]]:
    for offset, byte in enumerate(text.encode()):
        if byte == ord("\n"):
            yield start + offset, start + offset + 1, "break"


def _blank(raw: bytes) -> bytes:
    """Return a comment as spaces, and a line break outside of rules as it is."""
    return raw if raw == b"\n" else b" " * len(raw)


def _filled(begun: Mapping[int, _T], first: _T, last: int) -> dict[int, _T]:
    """Return a value for each line up to the last: a raw string has lines of its own, which are of the line before."""
    out: dict[int, _T] = {}
    for line in range(1, last + 1):
        first = begun.get(line, first)
        out[line] = first
    return out
