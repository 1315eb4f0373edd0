"""Whatever the source, people, keys, disks and restarts do: what decides is what was said, and nothing slides back."""

import asyncio
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import EngineError
from gateway.bundles.bundles import Bundles
from gateway.errors import PolicyUnavailableError
from tests.bundle_worlds import World, archive_of, down, signed_world
from tests.disks import FailingFiles

NUMBERS = st.integers(1, 6)
OFFERS = st.sampled_from(["good", "good", "good", "unsigned", "foreign", "same number", "no number", "garbage"])
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("gives"), NUMBERS, OFFERS),
        st.tuples(st.just("gives"), NUMBERS, st.just("good")),
        st.tuples(st.just("gives"), NUMBERS, st.just("good")),
        st.tuples(st.just("offers"), NUMBERS, OFFERS),
        st.tuples(st.just("publish"), NUMBERS),
        st.tuples(st.just("push"), NUMBERS),
        st.tuples(st.just("activate"), NUMBERS),
        st.tuples(st.just("rollback")),
        st.tuples(st.just("follow"), st.booleans()),
        st.tuples(st.just("restart")),
        st.tuples(st.just("server"), st.booleans()),
        st.tuples(st.just("engine"), st.booleans()),
    ),
    min_size=10,
    max_size=25,
)


@cache
def offered(n: int, how: str) -> bytes:
    """Return what a server gives, good or bad."""
    return {
        "good": lambda: archive_of(n, sequence=n, signed=True),
        "unsigned": lambda: archive_of(n, sequence=n),
        "foreign": lambda: archive_of(n, sequence=n, signed=True, which=1),
        "same number": lambda: archive_of(n, sequence=n, signed=True, other=True),
        "no number": lambda: archive_of(n, signed=True),
        "garbage": lambda: b"garbage %d" % n,
    }[how]()


class Site:
    """A gateway's bundles, what is done to them, and what has to hold after each deed."""

    def __init__(self, folder: Path) -> None:
        self.world: World = signed_world(
            folder, 3, kept_max=3, files=FailingFiles()
        )  # which fails never, and does not sync
        self.bundles: Bundles = self.world.bundles()
        self.pinned = False
        self.highest = 0  # in force since somebody last allowed an older one

    async def start(self) -> None:
        self.bundles = await self.world.started()
        await self.bundles._ledger.write_what_is_late()

    async def do(self, operation: tuple[Any, ...]) -> None:
        world, bundles = self.world, self.bundles
        match operation:
            case "offers", n, how:  # found by a start, or by who follows
                world.source.archive = offered(n, how)
            case "gives", n, how:
                world.source.archive = offered(n, how)
                await bundles.poll()
            case "publish", n:
                await bundles.publish(offered(n, "good"), "default/ann")
            case "push", n:
                await bundles.publish(offered(n, "good"), "default/ann")
                await bundles.activate(f"r{n}", "default/ann")
            case "activate", n:
                await bundles.activate(f"r{n}", "default/ann")
            case ("rollback",):
                await bundles.rollback("default/ann")
            case "follow", allow_older:
                entry = await bundles.follow_source("default/ann", allow_older=allow_older)
                self.highest = (entry.sequence or 0) if allow_older else self.highest
            case ("restart",):
                await self.start()
            case "server", alive:
                world.source.fails = None if alive else down()
            case "engine", ready:
                world.engine.fails = None if ready else PolicyUnavailableError("not ready")

    def check(self, events_before: int) -> None:
        world, bundles = self.world, self.bundles
        state = bundles._history.state
        assert state.active == bundles.current.digest
        assert bundles.current.signed_by == "k1"
        kept = {entry.digest for entry in state.entries}
        assert kept >= set(state.activations)
        assert len(kept) <= 4
        published = {target for kind, _, target, _ in world.audit.events if kind == "policy.bundle_published"}
        for kind, actor, target, details in world.audit.events[events_before:]:
            if kind == "policy.bundle_activated":
                assert target in published
                if actor == "gateway":  # nobody has asked for it
                    assert not self.pinned
                if details["cause"] in {"source", "start", "follow"}:  # `do` has lowered it where that was allowed
                    assert details["sequence"] >= self.highest
                self.highest = max(self.highest, details["sequence"] or 0)
        self.pinned = state.pinned
        activated = [target for kind, _, target, _ in world.audit.events if kind == "policy.bundle_activated"]
        assert activated[-1] == bundles.current.digest


@given(OPERATIONS)
@settings(max_examples=60, deadline=None)
def test_what_decides_is_what_was_said_and_nothing_slides_back(operations: list[tuple[Any, ...]]) -> None:
    """The laws of the log, of the history and of sequences, over random lives of a gateway."""

    async def live(folder: Path) -> None:
        site = Site(folder)
        await site.start()
        site.check(0)
        for operation in operations:
            before = len(site.world.audit.events)
            current = site.bundles.current
            try:
                await site.do(operation)
            except EngineError:
                assert site.bundles.current is current  # a refusal changes nothing
            site.check(before)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(Path(folder) / "policy"))
