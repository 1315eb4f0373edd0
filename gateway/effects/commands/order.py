"""What the gateway asks of a command's worker, and what the worker says of its end: values, and their bytes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal, TypeAlias

import orjson

from gateway.effects.commands.limits import CommandLimits
from gateway.errors import WorkerError

How: TypeAlias = Literal["exited", "signalled", "timeout", "cpu", "memory", "processes", "disk", "stopped"]
HOWS: Final[frozenset[str]] = frozenset(
    {"exited", "signalled", "timeout", "cpu", "memory", "processes", "disk", "stopped"}
)
STARTED: Final = b"started"  # comes with a pidfd of the process group's leader
FAILED: Final = b"failed "  # nothing was executed; the reason follows
_ENDED: Final = b"ended "


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOrder:
    """One run, as its worker needs it."""

    executable: str
    sha256: str | None
    argv: Sequence[str]  # whole, as the program sees it
    stdin: bytes
    reads: Sequence[str]
    executes: Sequence[str]
    limits: CommandLimits
    entries_max: int  # of the whole workspace
    bytes_max: int  # of the whole workspace

    def encode(self) -> bytes:
        """Return the order as bytes, for `decode`."""
        document = {**asdict(self), "stdin": self.stdin.hex()}
        return orjson.dumps(document)

    @classmethod
    def decode(cls, raw: bytes) -> "CommandOrder":
        """Return the order that `encode` wrote."""
        given = orjson.loads(raw)
        limits = CommandLimits(**given.pop("limits"))
        return cls(**{**given, "stdin": bytes.fromhex(given["stdin"]), "limits": limits})


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEnd:
    """How a run ended, and what it wrote."""

    how: How
    exit_code: int | None  # where it exited by itself
    signal: int | None  # where one ended it, the worker's included
    duration_ms: int
    output: bytes
    errors: bytes
    cut: tuple[bool, bool]  # whether it wrote more output, and more errors, than is kept

    def encode(self) -> bytes:
        """Return the end as one message, for `decode`."""
        head = orjson.dumps([self.how, self.exit_code, self.signal, self.duration_ms, self.cut, len(self.output)])
        return _ENDED + head + b"\n" + self.output + self.errors

    @classmethod
    def decode(cls, message: bytes) -> "CommandEnd":
        """Return the end that `encode` wrote.

        Raises:
            WorkerError: `worker.protocol`, the message is none.
        """
        head, found, body = message.removeprefix(_ENDED).partition(b"\n")
        try:
            how, exit_code, signal, duration_ms, (output_cut, errors_cut), size = orjson.loads(head)
        except (ValueError, TypeError) as error:
            raise WorkerError("the command's worker says nothing that is known", code="worker.protocol") from error
        if not found or not message.startswith(_ENDED) or how not in HOWS or type(size) is not int:
            raise WorkerError("the command's worker says nothing that is known", code="worker.protocol")
        return cls(
            how=how,
            exit_code=exit_code,
            signal=signal,
            duration_ms=duration_ms,
            cut=(output_cut, errors_cut),
            output=body[:size],
            errors=body[size:],
        )
