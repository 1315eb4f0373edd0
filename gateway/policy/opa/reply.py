"""What OPA answers, parsed: the bundles that it answered from, and the value or the error. Nothing in it is believed.

Source: https://www.openpolicyagent.org/docs/rest-api, Data API, Errors and Provenance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

TEXT_CHARS_MAX: Final = 2_048
PROVENANCE_BYTES_MAX: Final = 64 * 1024  # what an answer has beyond its value
_OK: Final = 200
_REVISIONS_SHOWN: Final = 4
_REVISION_CHARS_SHOWN: Final = 64


class ReplyError(Exception):
    """OPA said no (`policy.failed`), or nothing that can be understood (`policy.malformed`)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A value, or none: the rule is undefined then."""

    revisions: tuple[str, ...]  # of each bundle that OPA has; "" where it has none
    defined: bool
    value: Any  # parsed JSON

    def is_of(self, revision: str) -> bool:
        """Whether exactly one of OPA's bundles has this revision; another one may say who may ask OPA."""
        return revision != "" and self.revisions.count(revision) == 1

    @property
    def has(self) -> str:
        """The revisions as an operator reads them."""
        shown = ", ".join(repr(revision[:_REVISION_CHARS_SHOWN]) for revision in self.revisions[:_REVISIONS_SHOWN])
        return shown or "no bundle"


def read_reply(status: int, body: bytes) -> Reply:
    """Parse an answer of the Data API.

    Raises:
        ReplyError: it is an error, or no answer.
    """
    if status != _OK:
        raise _error(status, body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ReplyError("policy.malformed", "OPA's answer is not JSON") from error
    if type(value) is not dict:
        raise ReplyError("policy.malformed", "OPA's answer is not an object")
    return Reply(revisions=_revisions(value), defined="result" in value, value=value.get("result"))


def is_error(body: bytes) -> bool:
    """Whether a body is an error of OPA's own making: of the query, not of what stands before it."""
    return _error_fields(body) is not None


def _error(status: int, body: bytes) -> ReplyError:
    fields = _error_fields(body)
    if fields is None:
        return ReplyError("policy.malformed", f"the answer has the status {status}, and no error of OPA's")
    texts = [fields["code"], fields["message"]]
    errors = fields.get("errors")
    if type(errors) is list and errors and type(errors[0]) is dict and type(errors[0].get("message")) is str:
        texts.append(errors[0]["message"])
    return ReplyError("policy.failed", ": ".join(texts)[:TEXT_CHARS_MAX])


def _error_fields(body: bytes) -> Mapping[str, Any] | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if type(value) is dict and type(value.get("code")) is str and type(value.get("message")) is str:
        return value
    return None


def _revisions(value: Mapping[str, Any]) -> tuple[str, ...]:
    provenance = value.get("provenance")
    bundles = provenance.get("bundles") if type(provenance) is dict else None
    if type(bundles) is not dict:
        return ()
    revisions = [bundle.get("revision") if type(bundle) is dict else None for bundle in bundles.values()]
    return tuple(revision if type(revision) is str else "" for revision in revisions)
