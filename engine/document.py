"""Turns bytes from strangers into plain JSON values, and remembers the text so that errors can point into it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from engine.errors import MissionInvalidError, Violation
from engine.findings import Findings, Path, Place, Position, position_at
from engine.json_copy import NotJsonError, encode, read_back
from engine.json_scan import locate_json
from engine.json_text import read_json
from engine.mission import MissionLimits
from engine.values import JsonValue
from engine.yaml_text import locate_yaml, read_yaml

_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """A value made of dict, list, str, int, float, bool and None, and the text that it was read from.

    `parse_document` and `document_of` make it. One that never was text has only a value, and knows no positions.
    """

    value: JsonValue
    text: str | None = None
    limits: MissionLimits = field(default_factory=MissionLimits)

    def locate(self, path: Path) -> Position | None:
        """Return where the value at `path` begins, or None where there is no such value or no text."""
        place = self.locate_all([path]).get(path)
        return place.value if place is not None else None

    def locate_all(self, paths: Collection[Path]) -> Mapping[Path, Place]:
        """Return the places of those of `paths` that exist, in one walk over the text."""
        if self.text is None or not paths:
            return {}
        return locate_json(self.text, paths) if _is_json(self.text) else locate_yaml(self.text, paths, self.limits)


def parse_document(data: bytes, limits: MissionLimits) -> Document:
    """Read JSON, where the first character that is no white space is `{`, or else YAML.

    Raises:
        MissionInvalidError: too large (nothing is read then), not UTF-8, or refused by `read_json` or `read_yaml`;
            codes `document.…`.
    """
    findings = Findings()
    _check_size(data, limits, findings)
    text = _decode(data, findings)
    value = read_json(text, limits) if _is_json(text) else read_yaml(text, limits)
    return Document(value, text, limits)


def document_of(value: object, limits: MissionLimits) -> Document:
    """Take over a value that never was text (a protobuf message, a Python program's) by the rules of text.

    It is written as JSON and read again: so nothing is accepted here that `parse_document` would refuse, or read
    differently, and the document shares nothing with `value`.

    Raises:
        MissionInvalidError: no JSON (`document.not_json`), or refused by `read_json`; violations have no positions.
    """
    try:
        data = encode(value)
        read_back(data, value)
        _check_size(data, limits, Findings())
        return Document(read_json(data.decode(), limits), None, limits)
    except NotJsonError as error:
        raise MissionInvalidError(
            [Violation(code="document.not_json", message=f"this is no JSON: {error}", field="")]
        ) from error
    except MissionInvalidError as error:
        raise MissionInvalidError([replace(v, line=None, column=None) for v in error.violations]) from error


def _check_size(data: bytes, limits: MissionLimits, findings: Findings) -> None:
    if len(data) > limits.document_bytes_max:
        message = f"the document has {len(data)} bytes; {limits.document_bytes_max} are allowed"
        findings.add((), "document.too_large", message, kind="limit", position=Position(1, 1))
        raise findings.error()


def _decode(data: bytes, findings: Findings) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        position = position_at(before, len(before))
        findings.add((), "document.encoding", "the document is not UTF-8", position=position)
        raise findings.error() from error
    if text.startswith(_BYTE_ORDER_MARK):
        message = "the document begins with a byte order mark; save it as UTF-8 without one"
        findings.add((), "document.encoding", message, position=Position(1, 1))
        raise findings.error()
    return text


def _is_json(text: str) -> bool:
    return text.lstrip(" \t\r\n").startswith("{")
