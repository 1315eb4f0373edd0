"""What one call is, whoever makes it: method, request, and how its answer is read. Nothing here does I/O."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from google.protobuf.message import DecodeError, Message

ATTEMPT_SECONDS: Final = 30.0

PAGES_MAX: Final = 10_000  # of one list

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_Answer = TypeVar("_Answer", bound=Message)


class UnreadableError(Exception):
    """An answer is not the message that it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[_T_co]):
    """A call that answers once. It may be made again and again: a description has no state."""

    method: str  # "/gateway.v1.MissionService/GetMission"
    request: bytes = field(repr=False)
    parts: Callable[[], Iterator[bytes]] | None = field(default=None, repr=False)  # instead, where it takes a stream
    read: Callable[[bytes], _T_co]
    repeats: bool = True
    """Whether the same again comes to the same: a read, or a change that a request id or a digest makes one."""

    attempt_seconds: float = ATTEMPT_SECONDS


class Cursor(Protocol[_T_co]):
    """A call that answers with a stream, and how far it has come: asked anew, it goes on from there."""

    @property
    def method(self) -> str:
        """As of a call."""

    @property
    def resumes(self) -> bool:
        """Whether it can go on where it broke."""

    @property
    def over(self) -> bool:
        """Whether nothing more is to come, however the stream ends."""

    def request(self) -> bytes:
        """Return the request for what is still to come."""

    def take(self, raw: bytes) -> Sequence[_T_co]:
        """Read one answer, and return what is new in it."""

    def ended(self) -> "bool | Call[bool]":
        """Return, at the end of a stream, whether that is all; or what to ask to know it."""


class Page(Protocol[_T_co]):
    """A part of a list."""

    @property
    def items(self) -> Sequence[_T_co]:
        """What is in it."""

    @property
    def next_page_token(self) -> str:
        """What to ask for the next part with; empty after the last."""


Turning: TypeAlias = Callable[[str], Call[Page[_T]]]
"""Returns, for the token of a page, the call that asks for it."""


def call(
    method: str,
    request: Message,
    answer: type[_Answer],
    read: Callable[[_Answer], _T],
    *,
    repeats: bool = True,
    seconds: float = ATTEMPT_SECONDS,
) -> Call[_T]:
    """Return the description of a call."""
    return Call(
        method=method,
        request=request.SerializeToString(),
        read=lambda raw: read_as(answer, raw, read),
        repeats=repeats,
        attempt_seconds=seconds,
    )


def upload(
    method: str,
    parts: Callable[[], Iterator[Message]],
    answer: type[_Answer],
    read: Callable[[_Answer], _T],
    *,
    seconds: float,
) -> Call[_T]:
    """Return the description of a call that takes a stream; what is published twice is there once."""
    return Call(
        method=method,
        request=b"",
        parts=lambda: (part.SerializeToString() for part in parts()),
        read=lambda raw: read_as(answer, raw, read),
        attempt_seconds=seconds,
    )


def read_as(answer: type[_Answer], raw: bytes, read: Callable[[_Answer], _T]) -> _T:
    """Return what is in an answer.

    Raises:
        UnreadableError: it is another message, or has a word that this version does not know.
    """
    try:
        return read(answer.FromString(raw))
    except (DecodeError, ValueError) as error:
        raise UnreadableError(str(error)) from error


def chunks(content: bytes, size: int) -> Iterator[bytes]:
    """Yield content in pieces."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


def nothing(_: Any) -> None:
    """Read an answer that says nothing."""
