import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine.audit.keys import Ed25519Signer
from gateway.anchoring.alarms import Alarms
from gateway.anchoring.anchors import Anchor
from gateway.anchoring.file_place import FilePlace
from gateway.anchoring.ports import UnreachableError
from gateway.backoff import Backoff
from tests.anchored import MemoryLog
from tests.audit_logs import NAME, SIGNER, note, signed
from tests.virtual_time import LoopClock, run


@dataclass
class MemoryPlace:
    """A place that may be down, or slow."""

    name: str = "place"
    there: bytes | None = None
    down: bool = False
    slow: float = 0.0
    puts: list[tuple[float, bytes]] = field(default_factory=list)  # when, and what
    reads: int = 0

    async def read(self) -> bytes | None:
        self.reads += 1
        await asyncio.sleep(self.slow)
        if self.down:
            raise UnreachableError("no connection")
        return self.there

    async def put(self, note: bytes) -> None:
        self.there = note
        self.puts.append((asyncio.get_running_loop().time(), note))


def sizes(place: MemoryPlace) -> list[tuple[float, int]]:
    return [(round(when, 2), int(content.split(b"\n")[1])) for when, content in place.puts]


def publish(
    place: MemoryPlace | FilePlace,
    body: Callable[[MemoryLog, Anchor], Awaitable[object]],
    log: MemoryLog | None = None,
    *,
    stops: bool = False,
) -> tuple[MemoryLog, Anchor]:
    """Run `body` beside an anchor of one publication in 10 s; with `stops` end it as a gateway does."""
    made = []

    async def main() -> None:
        held = log or MemoryLog(size=3)
        backoff = Backoff(first_seconds=1.0, seconds_max=8.0, chance=lambda: 1.0)
        anchor = Anchor(held, place, seconds=10.0, alarms=Alarms(held), clock=LoopClock(), backoff=backoff)
        made.append((held, anchor))
        task = asyncio.create_task(anchor.run())
        await body(held, anchor)
        if stops:
            anchor.stop()
            await task
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    run(main())
    return made[0]


async def a_while(log: MemoryLog, anchor: Anchor) -> None:
    del log, anchor
    await asyncio.sleep(1)


async def busy(log: MemoryLog, anchor: Anchor) -> None:
    del anchor
    for _ in range(25):
        await asyncio.sleep(1)
        log.grow()


def test_the_newest_is_published_once_an_interval() -> None:
    """At the start, and then every 10 s what is newest then."""
    place = MemoryPlace()
    publish(place, busy)
    assert sizes(place) == [(0.0, 3), (10.0, 13), (20.0, 23)]


def test_the_last_one_goes_out_when_the_gateway_stops() -> None:
    """Without waiting for the interval."""
    place = MemoryPlace()
    publish(place, busy, stops=True)
    assert sizes(place) == [(0.0, 3), (10.0, 13), (20.0, 23), (25.0, 28)]


def test_a_stop_while_one_is_on_its_way_brings_the_newest_out() -> None:
    """The one that is under way ends, and the newest follows."""
    place = MemoryPlace(slow=2.0)

    async def grows(log: MemoryLog, anchor: Anchor) -> None:
        del anchor
        await asyncio.sleep(1)
        log.grow()

    publish(place, grows, stops=True)
    assert sizes(place) == [(2.0, 3), (4.0, 4)]


def test_a_dead_place_does_not_hold_up_a_stop() -> None:
    """One more try, and that is it."""
    place = MemoryPlace(down=True)
    _, anchor = publish(place, a_while, stops=True)
    assert place.puts == []
    assert anchor.standing().error == "no connection"
    assert place.reads in {2, 3}


def test_a_stop_with_nothing_new_ends_at_once() -> None:
    """What is out already is not put again."""
    place = MemoryPlace()
    publish(place, a_while, stops=True)
    assert len(place.puts) == 1


def test_an_idle_log_is_published_once() -> None:
    """No new checkpoint, no request."""
    place = MemoryPlace()

    async def idles(log: MemoryLog, anchor: Anchor) -> None:
        del log, anchor
        await asyncio.sleep(1_000)

    publish(place, idles)
    assert place.reads == 1


def test_a_failure_is_tried_again_and_the_lag_is_seen() -> None:
    """1 s, doubled up to 8; health says how much is not out; when it is back, the newest goes out."""
    place = MemoryPlace(down=True)

    async def comes_back(log: MemoryLog, anchor: Anchor) -> None:
        await asyncio.sleep(5)
        log.grow(4)
        standing = anchor.standing()
        assert (standing.error, standing.size, standing.lag, standing.at) == ("no connection", 0, 7, None)
        place.down = False
        await asyncio.sleep(5)
        standing = anchor.standing()
        assert (standing.error, standing.size, standing.lag) == ("", 7, 0)

    publish(place, comes_back)
    assert sizes(place) == [(7.0, 7)]


def test_a_restart_goes_on_where_the_place_is() -> None:
    """What is there is ours and shorter: it is replaced. The same is left."""
    place = MemoryPlace(there=MemoryLog(size=2).checkpoint())
    publish(place, a_while)
    assert sizes(place) == [(0.0, 3)]
    publish(place, a_while)
    assert len(place.puts) == 1


def assert_alarmed(log: MemoryLog, anchor: Anchor, reason: str, known: int) -> None:
    standing = anchor.standing()
    assert reason in standing.alarm
    assert log.events == [("audit.anchor_refused", "place", {"reason": standing.alarm, "size": 3, "known": known})]
    assert log.refused == [f"place: {standing.alarm}"]


@pytest.mark.parametrize(
    ("there", "reason", "known"),
    [
        (MemoryLog(size=9), "9 events are anchored of a log that has 3", 9),
        (MemoryLog(size=2, salt=b"other"), "another root of 2 events", 2),
        (MemoryLog(size=3, salt=b"other"), "another root of 3 events", 3),
    ],
)
def test_another_history_at_the_place_raises_the_alarm(there: MemoryLog, reason: str, known: int) -> None:
    """More than the log has, or another root: told once, and what is there stays, for it is the evidence."""
    evidence = there.checkpoint()
    place = MemoryPlace(there=evidence)

    async def goes_on(log: MemoryLog, anchor: Anchor) -> None:
        del log, anchor
        await asyncio.sleep(100)

    log, anchor = publish(place, goes_on)
    assert_alarmed(log, anchor, reason, known)
    assert (place.there, place.puts, place.reads) == (evidence, [], 1)


def test_a_fork_that_comes_later_raises_the_alarm() -> None:
    """A second gateway with the same key and another history puts its checkpoint there."""
    place = MemoryPlace()

    async def forked(log: MemoryLog, anchor: Anchor) -> None:
        del anchor
        await asyncio.sleep(1)
        place.there = MemoryLog(size=3, salt=b"other").checkpoint()
        log.grow()
        await asyncio.sleep(20)

    log, anchor = publish(place, forked)
    assert "another root of 3 events" in anchor.standing().alarm
    assert len(log.refused) == 1


def test_what_no_key_of_the_log_has_signed_raises_no_alarm() -> None:
    """Whoever can write to the place cannot stop the log by that; what is there stays, and the lag is seen."""
    stranger = Ed25519Signer(NAME, bytes(32))
    place = MemoryPlace(there=signed([b"x"] * 9, stranger))
    log, anchor = publish(place, a_while)
    assert (log.events, log.refused, anchor.standing().alarm) == ([], [], "")
    assert "not signed by a key of this log" in anchor.standing().error
    assert place.puts == []


def test_a_newer_checkpoint_of_ours_is_no_alarm() -> None:
    """The log has as many by now: the next try has the newest."""
    place = MemoryPlace(there=MemoryLog(size=5).checkpoint(), slow=0.5)

    async def grows(log: MemoryLog, anchor: Anchor) -> None:
        del anchor
        await asyncio.sleep(0.1)
        log.grow(3)
        await asyncio.sleep(10)

    log, anchor = publish(place, grows)
    assert log.refused == []
    assert anchor.standing().size == 6


@pytest.mark.parametrize(
    ("there", "why"),
    [
        (b"", "no checkpoint"),
        (b"x" * 70_000, "no checkpoint"),
        (note(b"some other text\n"), "no checkpoint"),
        (MemoryLog(size=2).checkpoint().replace(NAME.encode(), b"example.com/other"), "another log's"),
    ],
)
def test_what_is_not_ours_stays(there: bytes, why: str) -> None:
    """A file that is no checkpoint of this log is not replaced; nothing is out, and that is seen."""
    place = MemoryPlace(there=there)
    log, anchor = publish(place, a_while)
    assert place.puts == []
    assert why in anchor.standing().error
    assert log.refused == []


def test_a_bug_does_not_end_it() -> None:
    """Whatever is raised counts as a failure of that try."""
    place = MemoryPlace()

    async def broken() -> None:
        raise KeyError("a bug")

    read, place.read = place.read, broken  # type: ignore[method-assign,assignment]

    async def mended(log: MemoryLog, anchor: Anchor) -> None:
        del log
        await asyncio.sleep(0.5)
        assert anchor.standing().error == "KeyError"
        place.read = read  # type: ignore[method-assign]
        await asyncio.sleep(5)

    publish(place, mended)
    assert sizes(place) == [(1.0, 3)]


def test_a_file_has_the_newest_and_its_history_all(tmp_path: Path) -> None:
    """The file is replaced whole, others may read it; the history is one note behind the other."""
    path = tmp_path / "anchor"
    log = MemoryLog(size=3)
    publish(FilePlace(path), busy, log)
    notes = [MemoryLog(size=size).checkpoint() for size in (3, 13, 23)]
    assert path.read_bytes() == notes[-1]
    assert (tmp_path / "anchor.history").read_bytes() == b"".join(notes)
    assert path.stat().st_mode & 0o777 == 0o644
    assert sorted(each.name for each in tmp_path.iterdir()) == ["anchor", "anchor.history"]


def test_a_file_that_cannot_be_had_says_so(tmp_path: Path) -> None:
    """A missing folder, a folder in its place: an error in health, and no end of the gateway."""
    _, anchor = publish(FilePlace(tmp_path / "missing" / "anchor"), a_while)
    assert anchor.standing().error == "cannot be written: No such file or directory"
    _, anchor = publish(FilePlace(tmp_path), a_while)
    assert anchor.standing().error == "cannot be read: Is a directory"


def test_an_anchor_of_a_rolled_back_log_is_evidence(tmp_path: Path) -> None:
    """A file that has more than the log raises the alarm, and neither it nor its history changes."""
    path = tmp_path / "anchor"
    publish(FilePlace(path), a_while, MemoryLog(size=9))
    before = path.read_bytes(), (tmp_path / "anchor.history").read_bytes()
    log, anchor = publish(FilePlace(path), a_while, stops=True)
    assert "9 events are anchored" in anchor.standing().alarm
    assert len(log.refused) == 1
    assert (path.read_bytes(), (tmp_path / "anchor.history").read_bytes()) == before


def test_a_checkpoint_by_a_former_key_is_a_beginning(tmp_path: Path) -> None:
    """What counts is the root, which only the log itself can have: after a key rotation the anchor goes on."""
    place = MemoryPlace(there=note(b"\n".join(MemoryLog(size=2).checkpoint().split(b"\n")[:3]) + b"\n", SIGNER))
    publish(place, a_while)
    assert sizes(place) == [(0.0, 3)]
    assert tmp_path.exists()
