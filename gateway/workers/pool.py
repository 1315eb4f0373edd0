"""A pool of like workers: each call to a free one, a replacement for each that dies, a bound on all that waits.

States of a worker: forked → ready → (spare) → (busy ⇄ idle) → (tired) → dead. A spare takes no calls; it takes the
place of one that dies, at once, and what is forked then is the next spare. One that has answered enough calls, or has
grown, is tired: a spare takes its place as soon as there is one, it ends what it has, and it goes. A pool whose workers
keep dying without having answered anything backs off, and tells callers so instead of letting them wait.
"""

import asyncio
import contextlib
import logging
import os
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import WorkerError
from gateway.workers.frame import frame
from gateway.workers.link import DeathCause, Link, Request
from gateway.workers.spec import WorkerSpec
from gateway.workers.supervisor import Zygote, ended

_LOG = logging.getLogger(__name__)

_FREE_DEATHS = 6  # in a row, without an answer between them, before replacements are delayed
_BACKOFF_SECONDS_MIN = 0.05
_BACKOFF_SECONDS_MAX = 5.0
_END_SECONDS_MAX = 5.0
_LOOK_CALLS = 1_024  # answers of a worker between two looks at its memory
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_GROWTH_BYTES_MAX = 64 * 1024 * 1024  # of resident memory, since the first look: a leak, and no guest's 16 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How it stands with a pool."""

    alive: int  # that take calls
    spare: int
    waiting: int  # calls that no worker has yet
    ended: Mapping[str, int]  # workers, by cause


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    """A place in the queue of who only wants to know when it is their turn."""

    future: asyncio.Future[None]


class WorkerPool:
    """Workers of one specification. Bound to the event loop that calls `start`."""

    def __init__(
        self, zygote: Zygote, spec: WorkerSpec, size: int, depth: int = 1, *, spares: int = 0, queue_max: int = 4096
    ) -> None:
        """Describe a pool.

        Args:
            zygote: forks the workers.
            spec: how to make one.
            size: workers to keep.
            depth: requests sent to one worker at a time; the ones behind the head save a round trip.
            spares: workers to keep ready beside them, for when one dies.
            queue_max: calls that may wait for a worker; more are refused as `worker.overloaded`.
        """
        if size < 1 or depth < 1 or spares < 0 or queue_max < 0:
            raise ValueError("size and depth are at least 1, spares and queue_max at least 0")
        self._zygote, self._spec = zygote, spec
        self._size, self._depth, self._spares_max, self._queue_max = size, depth, spares, queue_max
        self._links: list[Link] = []  # those that take calls
        self._spares: deque[Link] = deque()
        self._tired: set[Link] = set()  # some still among the links; for each a replacement is on its way, or there
        self._queue: deque[Request | _Turn] = deque()
        self._replacing: set[asyncio.Task[None]] = set()
        self._deaths = 0  # in a row, without an answer between them
        self._ended: Counter[str] = Counter()  # all of them, by cause
        self._open = False
        self._idle: asyncio.Event | None = None  # set while draining, once nothing is left

    async def start(self) -> None:
        """Fork the workers; return once all that take calls are ready. The spares come up behind them.

        Raises:
            WorkerError: `worker.start_failed`, with the worker's own words; nothing is left running.
        """
        self._open = True
        outcomes = await asyncio.gather(*(self._add() for _ in range(self._size)), return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failures:
            await self.close(drain_seconds=0)
            raise failures[0]
        for _ in range(self._spares_max):
            self._replace()

    async def close(self, *, drain_seconds: float = 5.0) -> None:
        """Refuse new calls, let those under way end within `drain_seconds`, then end every worker."""
        self._open = False
        if self._busy and drain_seconds > 0:
            self._idle = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(drain_seconds):
                    await self._idle.wait()
        for task in tuple(self._replacing):
            task.cancel()
        await asyncio.gather(*self._replacing, return_exceptions=True)
        await asyncio.gather(*(self._end(link) for link in {*self._links, *self._spares, *self._tired}))
        self._fail_waiting("the pool is closed", "worker.closed")

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that take calls."""
        return tuple(link.pid for link in self._links)

    @property
    def spare_pids(self) -> tuple[int, ...]:
        """Process ids of the spares that are ready."""
        return tuple(link.pid for link in self._spares)

    @property
    def waiting(self) -> int:
        """Calls that no worker has yet."""
        return len(self._queue)

    @property
    def standing(self) -> Standing:
        """How it stands now."""
        return Standing(
            alive=len(self._links), spare=len(self._spares), waiting=len(self._queue), ended=dict(self._ended)
        )

    async def call(self, payload: bytes, *, deadline_ms: int, retries: int = 0) -> bytes:
        """Return a worker's answer to `payload`.

        `deadline_ms` counts from the moment the worker can begin, not while the call waits for one. A worker that dies
        is blamed on the call that it was working on, which is tried again `retries` times; calls behind it are moved
        to another worker and lose nothing.

        Raises:
            WorkerError: `worker.crashed`; `worker.deadline`, the worker was killed; `worker.overloaded`, too many
                wait; `worker.unavailable`, the workers do not stay up; `worker.closed`; `worker.too_large`.
        """
        if len(payload) > self._spec.frame_bytes_max:
            raise WorkerError("the request is over the frame limit", code="worker.too_large")
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._submit(Request(frame(payload), deadline_ms / 1000, retries, future))
        return await future

    async def turn(self) -> None:
        """Return once a worker has room for a call that is made now.

        Raises:
            WorkerError: `worker.overloaded`, `worker.unavailable`, `worker.closed`.
        """
        turn = _Turn(asyncio.get_running_loop().create_future())
        self._submit(turn)
        await turn.future

    def _submit(self, request: "Request | _Turn") -> None:
        if not self._open:
            raise WorkerError("the pool is closed", code="worker.closed")
        if not self._queue and (link := self._free()) is not None:
            _give(link, request)
            return
        if not self._links and self._deaths > _FREE_DEATHS:
            raise WorkerError("the workers keep dying", code="worker.unavailable")
        if len(self._queue) >= self._queue_max:
            self._queue = deque(r for r in self._queue if not r.future.done())  # callers may have given up
            if len(self._queue) >= self._queue_max:
                raise WorkerError(f"{self._queue_max} calls wait for a worker already", code="worker.overloaded")
        self._queue.append(request)

    def _free(self) -> Link | None:
        """Return the least busy link that takes one more, or None."""
        best, least = None, self._depth
        for link in self._links:
            busy = len(link.in_flight)
            if busy < least:
                best, least = link, busy
                if not busy:
                    break
        return best

    def _dispatch(self) -> None:
        """Send what waits to whoever is free."""
        queue = self._queue
        while queue and (link := self._free()) is not None:
            request = queue.popleft()
            if not request.future.done():
                _give(link, request)
        if self._idle is not None and not self._busy:
            self._idle.set()

    def _on_answer(self, link: Link) -> None:
        self._deaths = 0
        if link.answered >= link.look_at:
            self._look(link)
        if self._queue or self._idle is not None:
            self._dispatch()

    def _look(self, link: Link) -> None:
        """Let a worker go that has answered enough, or has grown: once another can take its place, and it is idle."""
        if link not in self._tired:
            link.look_at = min(link.answered + _LOOK_CALLS, self._spec.calls_max)
            if link.answered < self._spec.calls_max and not _has_grown(link):
                return
            link.look_at = 0  # from now on at each answer
            self._tired.add(link)
            self._replace()
        if link in self._links and self._spares:
            self._links.remove(link)
            self._links.append(self._spares.popleft())
        if link not in self._links and not link.in_flight:
            link.end("retired")

    @property
    def _busy(self) -> bool:
        return bool(self._queue) or any(link.in_flight for link in {*self._links, *self._tired})

    def _on_death(self, link: Link, cause: DeathCause, note: str) -> None:
        replaced = link in self._tired
        self._forget(link)
        requests = link.in_flight
        self._ended[cause] += 1
        if cause == "retired":
            _LOG.info("worker %d of %s: %s", link.pid, self._spec.entry, cause)
        elif cause != "closed":
            _LOG.warning("worker %d of %s: %s %s", link.pid, self._spec.entry, cause, note)
        if cause in {"crashed", "undelivered"}:
            self._deaths += 1
        if cause == "crashed" and requests:
            self._blame(requests, note)
        elif cause == "deadline":
            self._fail(requests.popleft(), "the worker was killed at its deadline", "worker.deadline")
        elif cause == "closed":
            while requests:
                self._fail(requests.popleft(), "the pool is closed", "worker.closed")
        self._queue.extendleft(reversed(requests))  # they were here first, and lose nothing
        if cause != "closed" and not replaced:
            self._replace()
        self._dispatch()

    def _forget(self, link: Link) -> None:
        """Take a dead worker off every list; a spare takes its place."""
        self._tired.discard(link)
        if link in self._spares:
            self._spares.remove(link)
        elif link in self._links:
            self._links.remove(link)
            if self._spares:
                self._links.append(self._spares.popleft())

    def _blame(self, requests: deque[Request], note: str) -> None:
        """The head was at work when the worker died: it pays with a retry, or with its life."""
        head = requests[0]
        if head.retries_left > 0:
            head.retries_left -= 1
        else:
            requests.popleft()
            self._fail(head, f"the worker died: {note or 'no last words'}", "worker.crashed")

    def _replace(self) -> None:
        task = asyncio.get_running_loop().create_task(self._replacement())
        self._replacing.add(task)
        task.add_done_callback(self._replacing.discard)

    async def _replacement(self) -> None:
        failures = 0
        while self._open or self._busy:
            over = max(self._deaths - _FREE_DEATHS, failures - 1)  # one failure is free: the zygote may have died
            if over > 0:
                if not self._links and self._deaths > _FREE_DEATHS:
                    self._fail_waiting("the workers keep dying", "worker.unavailable")
                await asyncio.sleep(min(_BACKOFF_SECONDS_MAX, _BACKOFF_SECONDS_MIN * 2 ** min(over - 1, 16)))
            try:
                await self._add()
            except (WorkerError, OSError) as error:
                _LOG.warning("no replacement for %s: %s", self._spec.entry, error)
                self._deaths += 1
                failures += 1
                if isinstance(error, WorkerError) and error.code == "worker.closed":
                    self._fail_waiting(error.message, error.code)
                    return
            else:
                self._dispatch()
                return

    async def _add(self) -> None:
        """Fork one worker, give it its configuration, and take it in once it says that it is ready."""
        process = await self._zygote.fork(self._spec)
        ready: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def died(_: Link, cause: DeathCause, note: str) -> None:
            if not ready.done():
                text = f"{self._spec.entry} did not start: {note or cause}"
                ready.set_exception(WorkerError(text, code="worker.start_failed"))

        link = Link(process, answer_bytes_max=self._spec.answer_bytes_max, on_death=died)
        try:
            link.send(Request(frame(self._spec.config), self._spec.start_ms_max / 1000, 0, ready))
            await ready
        except BaseException:
            link.end("closed")
            raise
        if not link.alive:
            raise WorkerError(f"{self._spec.entry} ended as soon as it was ready", code="worker.start_failed")
        link.on_death, link.on_answer = self._on_death, self._on_answer
        link.answered = 0  # that it is ready was no answer
        link.look_at = min(_LOOK_CALLS, self._spec.calls_max)
        (self._links if len(self._links) < self._size else self._spares).append(link)

    @staticmethod
    async def _end(link: Link) -> None:
        pidfd = os.dup(link.pidfd)
        try:
            link.end("closed")
            await ended(pidfd, _END_SECONDS_MAX)
        finally:
            os.close(pidfd)

    def _fail_waiting(self, message: str, code: str) -> None:
        while self._queue:
            self._fail(self._queue.popleft(), message, code)

    @staticmethod
    def _fail(request: "Request | _Turn", message: str, code: str) -> None:
        if not request.future.done():
            request.future.set_exception(WorkerError(message, code=code))


def _give(link: Link, request: Request | _Turn) -> None:
    """Let a worker that is free have what waits."""
    if isinstance(request, _Turn):
        request.future.set_result(None)
    else:
        link.send(request)


def _has_grown(link: Link) -> bool:
    """Whether a worker holds much more than when it was looked at first; one that cannot be looked at has not."""
    try:
        pages = int(Path(f"/proc/{link.pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):  # /proc may hide other processes; RLIMIT_AS holds it all the same
        return False
    held = pages * _PAGE_BYTES
    if not link.resident_bytes:
        link.resident_bytes = held
    return held - link.resident_bytes > _GROWTH_BYTES_MAX
