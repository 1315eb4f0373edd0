"""Laws of exports: whenever they are killed, and whatever fails, each event is delivered at least once and in order."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.exporting.cursors import Cursor, CursorFile
from tests import virtual_time
from tests.disks import FailingFiles
from tests.exports import NAME, MemoryLog, MemorySink, export

LIVES = st.lists(
    st.fixed_dictionaries(
        {
            "grows": st.integers(0, 6),
            "killed_after": st.integers(1, 60),  # iterations of the loop
            "disk_fails_at": st.integers(-1, 20),  # calls that change it
            "lost_answers": st.sets(st.integers(0, 5), max_size=3),  # deliveries of which nobody hears
            "refusals": st.sets(st.integers(0, 5), max_size=3),
        }
    ),
    max_size=6,
)


class UnreliableSink(MemorySink):
    """Refuses some deliveries, and takes others without saying so."""

    def __init__(self, refusals: set[int], lost_answers: set[int]) -> None:
        super().__init__()
        self.refusals, self.lost_answers, self.asked = refusals, lost_answers, 0

    async def deliver(self, events: Any) -> None:
        number, self.asked = self.asked, self.asked + 1
        if number in self.refusals:
            raise OSError("refused")
        await asyncio.sleep(0)  # a kill may come here
        await super().deliver(events)
        await asyncio.sleep(0)  # and here, between delivery and cursor
        if number in self.lost_answers:
            raise OSError("the answer is lost")


async def live(log: MemoryLog, directory: Path, life: dict[str, Any]) -> list[int]:
    """Run an export until it is killed; return what the sink has got."""
    sink = UnreliableSink(life["refusals"], life["lost_answers"])
    cursors = CursorFile(directory, NAME, FailingFiles(life["disk_fails_at"]))
    made = export(log, sink, directory, cursors=cursors, events_max=3)
    made.start()
    await log.grow(life["grows"]) if life["grows"] else None
    for _ in range(life["killed_after"]):
        await asyncio.sleep(0)
    await made.close(0.0)
    return sink.seqs


@settings(max_examples=40, deadline=None)
@given(LIVES)
def test_any_sequence_of_crashes_delivers_each_event_at_least_once_and_in_order(lives: list[dict[str, Any]]) -> None:
    """No event is skipped at any time; a repetition begins at most where the cursor is, which no sink is behind."""

    async def main(directory: Path) -> None:
        log = MemoryLog(4)
        got = -1  # the highest seq that the sinks have
        for life in lives:
            for seq in await live(log, directory, life):
                assert seq <= got + 1, "an event was skipped"
                got = max(got, seq)
            cursor = CursorFile(directory, NAME).read() or Cursor(-1, "")
            assert cursor.seq <= got, "the cursor is ahead of what was acknowledged"
        sink = MemorySink()
        last = export(log, sink, directory)
        last.start()
        await last.close(60.0)
        cursor = CursorFile(directory, NAME).read()
        assert cursor is not None
        assert cursor.seq == log.size - 1
        assert sink.seqs == list(range(log.size - len(sink.seqs), log.size))
        assert not sink.seqs or sink.seqs[0] <= got + 1
        assert max([got, *sink.seqs]) == log.size - 1

    with tempfile.TemporaryDirectory() as folder:
        virtual_time.run(main(Path(folder)))
