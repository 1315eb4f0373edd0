"""The policy desk: what is tried there holds up nobody who is decided about, and what it opens it closes."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from gateway.decisions.records import Filter
from gateway.errors import OverloadedError
from gateway.identity import Principal
from gateway.policy.decision import Decision
from gateway.policy.engine import Entrypoint
from gateway.policy_desk import CANDIDATES_MAX, PolicyDesk, PolicyDeskParts
from tests.subjects import known

ANN = known(Principal(subject="ann", tenant="default"))


@dataclass
class Named:
    digest: str


class Engine:
    """Answers with its digest, once it may."""

    pids = ()

    def __init__(self, digest: str) -> None:
        self.digest, self.asked, self.open = digest, 0, False
        self.go = asyncio.Event()
        self.go.set()

    async def start(self) -> None:
        self.open = True

    async def close(self) -> None:
        self.open = False

    async def decide(self, _entrypoint: Entrypoint, _document: bytes) -> Decision:
        self.asked += 1
        await self.go.wait()
        return Decision(allow=True, bundle=self.digest)


class Bundles:
    """What stands for the bundles: one in force, one kept."""

    def __init__(self) -> None:
        self.current = Named("sha256:a")

    async def read(self, name: str) -> Named:
        return Named(name)


class Nothing:
    """Records that are empty."""

    def read(self, _wanted: Filter) -> Iterator[Any]:
        return iter(())


@dataclass
class World:
    """A desk, and what stands around it."""

    engine: Literal["regorus", "opa"] = "regorus"
    held: bool = False
    bundles: Bundles = field(default_factory=Bundles)
    policy: Engine = field(default_factory=lambda: Engine("sha256:a"))
    tried: list[Engine] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)  # names of threads
    closed: int = 0
    may_open: threading.Event = field(default_factory=threading.Event)

    def desk(self) -> PolicyDesk:
        parts: Any = {
            "bundles": self.bundles,
            "policy": self.policy,
            "candidate": self._candidate,
            "explain": self._explain,
            "records": self._records,
            "engine": self.engine,
            "mode": "enforce",
            "shadow": None,
            "cache": lambda: (0, 0),
        }
        return PolicyDesk(PolicyDeskParts(**parts))

    def _candidate(self, bundle: Any) -> Engine:
        engine = Engine(bundle.digest)
        if self.held:
            engine.go.clear()
        self.tried.append(engine)
        return engine

    async def _explain(self, bundle: Any, _entrypoint: Entrypoint, _document: bytes) -> dict[str, Any]:
        self.explained.append(bundle.digest)
        return {}

    @contextmanager
    def _records(self) -> Iterator[Any]:
        self.opened.append(threading.current_thread().name)
        self.may_open.wait(5)
        try:
            yield Nothing()
        finally:
            self.closed += 1


async def test_a_document_that_is_tried_takes_no_time_of_the_workers_that_decide() -> None:
    """It may be of any form, and take a worker to its deadline: it gets one of its own, also for what is in force."""
    world = World()
    answer = await world.desk().evaluate("mission", b"{}", "", explain=True)
    assert (answer.decision.bundle, world.policy.asked, world.explained) == ("sha256:a", 0, ["sha256:a"])
    [tried] = world.tried
    assert (tried.asked, tried.open) == (1, False)


async def test_few_may_try_something_at_a_time() -> None:
    """Each has a process; who comes too late is told so, and an OPA is held to the same number."""
    world = World(held=True)
    desk = world.desk()
    tasks = [asyncio.create_task(desk.evaluate("step", b"{}", "", explain=False)) for _ in range(CANDIDATES_MAX)]
    await asyncio.sleep(0.01)
    with pytest.raises(OverloadedError):
        await desk.evaluate("step", b"{}", "", explain=False)
    for tried in world.tried:
        tried.go.set()
    assert [(await task).decision.allow for task in tasks] == [True] * CANDIDATES_MAX

    opa = World(engine="opa")
    opa.policy.go.clear()
    desk = opa.desk()
    tasks = [asyncio.create_task(desk.evaluate("step", b"{}", "", explain=False)) for _ in range(CANDIDATES_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await desk.evaluate("step", b"{}", "", explain=False)
    opa.policy.go.set()
    await asyncio.gather(*tasks)
    assert (opa.policy.asked, opa.tried) == (CANDIDATES_MAX, [])


async def test_decision_and_explanation_are_of_one_bundle() -> None:
    """Another comes into force between them."""
    world = World(held=True)
    task = asyncio.create_task(world.desk().evaluate("step", b"{}", "", explain=True))
    await asyncio.sleep(0.01)
    world.bundles.current = Named("sha256:b")
    world.tried[0].go.set()
    assert (await task).decision.bundle == "sha256:a"
    assert world.explained == ["sha256:a"]


async def test_a_replay_opens_the_records_away_from_the_loop() -> None:
    """A passphrase takes half a second to stretch, in which nobody else would be served."""
    world = World()
    world.may_open.set()
    found = [each async for each in world.desk().replay("sha256:c", Filter())]
    assert (len(found), world.closed) == (1, 1)
    assert world.opened != [threading.current_thread().name]


async def test_a_replay_that_is_cancelled_while_it_opens_leaves_nothing_open() -> None:
    """The thread goes on, and is waited for: the file is closed, and the keys are wiped."""
    world = World()

    async def asked() -> None:
        async for _ in world.desk().replay("sha256:c", Filter()):
            raise AssertionError

    task = asyncio.create_task(asked())
    for _ in range(5_000):
        if world.opened:
            break
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.sleep(0)
    world.may_open.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (world.closed, [engine.open for engine in world.tried]) == (1, [False])
