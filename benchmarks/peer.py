"""Other engines as peers: each a process of the peers' own interpreter, which is asked for one run after another."""

import asyncio
import json
import os
import signal
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parent.parent
PYTHON: Final = _ROOT / ".venv-bench" / "bin" / "python"
NOT_INSTALLED: Final = "not installed: make bench-peers"
ANSWER_SECONDS_MAX: Final = 120.0
END_SECONDS_MAX: Final = 20.0
_LOOK_AGAIN_SECONDS: Final = 0.01
_LOOKS_MAX: Final = 500
_REASON_CHARACTERS_MAX: Final = 100

_ENVIRONMENT: Final[Mapping[str, str]] = {
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_API_HOST": "127.0.0.1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "NO_PROXY": "*",
}
"""Nobody is told of a run, and nothing listens beyond loopback."""


class PeerError(Exception):
    """A peer cannot be measured; the message says why."""


@dataclass(frozen=True, slots=True)
class Offspring:
    """A process, known by its id and the moment in which it began: an id alone may be another's by now."""

    pid: int
    began: int  # clock ticks since the machine's start

    @property
    def lives(self) -> bool:
        """Whether it is there still; one that waits to be buried is not."""
        return self in _processes()

    async def end(self) -> None:
        """Kill it, if it is there still, and wait until it is not."""
        for _ in range(_LOOKS_MAX):
            if not self.lives:
                return
            with suppress(ProcessLookupError):  # it has ended this moment
                os.kill(self.pid, signal.SIGKILL)
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)


def _processes() -> dict[Offspring, int]:
    """Return every process and its parent's id. Source: proc(5), /proc/pid/stat."""
    found: dict[Offspring, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if fields[0] == "Z":
            continue
        found[Offspring(int(path.parent.name), int(fields[19]))] = int(fields[1])
    return found


def offspring_of(pid: int) -> list[Offspring]:
    """Return the processes that a process has begun, and theirs, nearest first."""
    parents = _processes()
    found: list[Offspring] = []
    above = {pid}
    while above:
        below = [child for child, parent in parents.items() if parent in above and child not in found]
        found += below
        above = {child.pid for child in below}
    return found


class Peer:
    """One engine, running."""

    def __init__(self, process: Process, errors: Path) -> None:
        self.version = ""
        self._process = process
        self._errors = errors

    async def seconds(self, *shape: object) -> float:
        """Return what one run took."""
        return await self._ask(shape, "seconds")

    async def bytes(self, *shape: object) -> float:
        """Return what the peer's Python held at most for one run; what other processes of it hold is not in there."""
        return await self._ask(shape, "bytes")

    async def _ask(self, shape: tuple[object, ...], what: str) -> float:
        assert self._process.stdin is not None
        question = {"shape": shape, "trace": what == "bytes"}
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        return float((await self.answer())[what])

    async def answer(self) -> dict[str, float | str]:
        """Return the next answer.

        Raises:
            PeerError: none came, or the peer has ended.
        """
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                line = await self._process.stdout.readline()
        except TimeoutError as late:
            raise PeerError(f"no answer within {ANSWER_SECONDS_MAX:g} s") from late
        if not line:
            said = self._errors.read_text(errors="replace").strip().splitlines() or ["it ended"]
            raise PeerError(said[-1][:_REASON_CHARACTERS_MAX])
        answer: dict[str, float | str] = json.loads(line)
        return answer


@asynccontextmanager
async def running(module: str, folder: Path | None = None) -> AsyncIterator[Peer]:
    """Start a program in a folder of its own, within `folder`; every process of it ends with the block.

    Raises:
        PeerError: it is not installed, or does not start.
    """
    if not PYTHON.exists():
        raise PeerError(NOT_INSTALLED)
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as home:
        errors = Path(home) / "stderr"
        places = {"HOME": home, "TMPDIR": home, "PREFECT_HOME": f"{home}/prefect"}
        with errors.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(PYTHON, "-m", module),
                cwd=_ROOT,
                env={**os.environ, **_ENVIRONMENT, **places},
                stdin=PIPE,
                stdout=PIPE,
                stderr=stderr,
                start_new_session=True,  # an interrupt is ours to handle
            )
        peer = Peer(process, errors)
        try:
            peer.version = str((await peer.answer())["version"])
            yield peer
        finally:
            await _end(process)


async def _end(process: Process) -> None:
    """Let the peer end by itself, and make sure of it and of all that it has begun."""
    everyone = [*offspring_of(process.pid), *(each for each in _processes() if each.pid == process.pid)]
    assert process.stdin is not None
    process.stdin.close()
    try:
        for _ in range(int(END_SECONDS_MAX / _LOOK_AGAIN_SECONDS)):
            if process.returncode is not None:
                break
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    finally:
        for each in everyone:
            await each.end()
    await process.wait()  # not before: it also waits for every process that has inherited the pipes
