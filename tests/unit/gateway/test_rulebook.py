"""The bundle in force, and how another takes its place: order, failure, and decisions that are under way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from gateway.errors import HookRefusedError, PolicyInvalidError, WorkerError
from gateway.policy.bundle import Bundle
from gateway.policy.decision import Decision, denied
from gateway.policy.engine import Entrypoint
from gateway.rulebook import PAST_MAX, Rulebook
from gateway.rules import Rules


@dataclass
class Book:
    """What stands for rules: the rulebook hands them on, and looks at nothing but the bundle and `compose`."""

    bundle: Any
    compose: Any = None


@dataclass
class Named:
    digest: str


class Engine:
    """An engine that can be held, and says what became of it."""

    pids = ()

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.events: list[str] = []
        self.go = asyncio.Event()
        self.go.set()
        self.fails: BaseException | None = None
        self.code = ""

    async def start(self) -> None:
        self.events.append("start")
        await self.go.wait()
        if self.fails is not None:
            raise self.fails

    async def turn(self) -> None:
        self.events.append("turn")

    async def close(self) -> None:
        self.events.append("close")

    async def decide(self, _entrypoint: Entrypoint, _document: bytes) -> Decision:
        await self.go.wait()
        if "close" in self.events:
            return denied("policy.unavailable", "closed", bundle=self.digest)
        return denied(self.code, "", bundle=self.digest) if self.code else Decision(allow=True, bundle=self.digest)


@dataclass
class Hooks:
    """Hooks that fit, unless they are told otherwise."""

    refuses: bool = False
    adopted: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def refitted(self, _compose: Any) -> AsyncIterator[Callable[[], None]]:
        if self.refuses:
            raise HookRefusedError("it does not fit", code="hook.unknown_profile", field="profile")
        yield lambda: self.adopted.append("hooks")


class World:
    """A rulebook over engines that can be looked at."""

    def __init__(self) -> None:
        self.engines = {"a": Engine("a")}
        self.hooks = Hooks()
        self.unreadable: set[str] = set()
        self.stale = False
        self.book = Rulebook(
            self.rules("a"),
            self.engines["a"],
            read=lambda bundle: self.read(bundle.digest),
            make=lambda rules: self.engines.setdefault(rules.bundle.digest, Engine(rules.bundle.digest)),
            hooks=cast("Any", self.hooks),
            stale=lambda: self.stale,
        )
        self.adopted: list[str] = []
        self.book.follow(lambda rules: self.adopted.append(rules.bundle.digest))

    def rules(self, digest: str) -> Rules:
        return cast("Rules", Book(Named(digest)))

    def read(self, digest: str) -> Rules:
        if digest in self.unreadable:
            raise PolicyInvalidError("it is wrong", code="policy.profile_invalid", file="data.json")
        return self.rules(digest)

    async def activate(self, digest: str) -> None:
        await self.book.activate(cast("Bundle", Named(digest)))

    async def ask(self) -> Decision:
        return await self.book.decide("step", b"{}")


@pytest.fixture
async def world() -> World:
    return World()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_next_decision_is_given_by_the_new_bundle(world: World) -> None:
    """Everything that follows has heard of it by then, and the old engine is closed."""
    await world.activate("b")
    assert (await world.ask()).bundle == world.book.digest == "b"
    assert (world.adopted, world.hooks.adopted) == (["b"], ["hooks"])
    await settle()
    assert world.engines["a"].events == ["close"]
    await world.book.turn()
    assert world.engines["b"].events == ["start", "turn"]


async def test_until_its_engine_is_ready_the_old_bundle_decides(world: World) -> None:
    """Nothing waits for a bundle that is being made ready."""
    new = world.engines["b"] = Engine("b")
    new.go.clear()
    changing = asyncio.create_task(world.activate("b"))
    await settle()
    assert (await world.ask()).bundle == "a"
    assert world.adopted == []
    new.go.set()
    await changing
    assert (await world.ask()).bundle == "b"


async def test_a_decision_under_way_is_ended_by_the_bundle_it_was_begun_with(world: World) -> None:
    """Its engine is closed after it, not before."""
    old = world.engines["a"]
    old.go.clear()
    asked = asyncio.create_task(world.ask())
    await settle()
    await world.activate("b")
    await settle()
    assert old.events == []
    old.go.set()
    decision = await asked
    assert (decision.allow, decision.bundle) == (True, "a")
    await settle()
    assert old.events == ["close"]


@pytest.mark.parametrize("wrong", ["data", "hooks", "engine"])
async def test_what_fails_leaves_the_old_bundle_in_force(world: World, wrong: str) -> None:
    """Data, hooks or engine: nothing has changed, and the engine that did not start is given back."""
    if wrong == "data":
        world.unreadable.add("b")
    elif wrong == "hooks":
        world.hooks.refuses = True
    else:
        world.engines["b"] = Engine("b")
        world.engines["b"].fails = WorkerError("no", code="worker.start_failed")
    with pytest.raises((PolicyInvalidError, HookRefusedError, WorkerError)):
        await world.activate("b")
    await settle()
    assert (await world.ask()).bundle == "a"
    assert (world.adopted, world.hooks.adopted, world.engines["a"].events) == ([], [], [])
    if wrong == "engine":
        assert world.engines["b"].events == ["start", "close"]


async def test_a_change_that_is_cancelled_leaves_the_old_bundle_in_force(world: World) -> None:
    """And takes back the engine that was on its way."""
    world.engines["b"] = Engine("b")
    world.engines["b"].go.clear()
    changing = asyncio.create_task(world.activate("b"))
    await settle()
    changing.cancel()
    await asyncio.wait([changing])
    assert world.engines["b"].events == ["start", "close"]
    assert (await world.ask()).bundle == "a"


async def test_rules_of_earlier_bundles_are_known_for_the_steps_they_decided(world: World) -> None:
    """For a few changes; then the rules in force stand for them."""
    for number in range(PAST_MAX + 2):
        await world.activate(f"n{number}")
    known = [world.book.of(f"n{number}").bundle.digest for number in range(PAST_MAX + 2)]
    assert known == ["n9", *(f"n{number}" for number in range(1, 10))]
    assert world.book.of("a").bundle.digest == "n9"


async def test_a_stale_bundle_decides_about_calls_only(world: World) -> None:
    """So that somebody can still mend it."""
    world.stale = True
    decision = await world.ask()
    assert [reason.code for reason in decision.reasons] == ["policy.stale"]
    assert (await world.book.decide("rpc", b"{}")).allow


async def test_an_engine_that_has_the_next_bundle_already_is_asked_again(world: World) -> None:
    """An OPA beside us takes a bundle some moments before we know: the decision waits for that, and is not lost."""
    old, new = world.engines["a"], Engine("b")
    old.code = "policy.bundle_mismatch"
    world.engines["b"] = new
    new.go.clear()
    changing = asyncio.create_task(world.activate("b"))
    await settle()
    asked = asyncio.create_task(world.ask())
    await settle()
    assert not asked.done()
    new.go.set()
    decision = await asked
    assert (decision.allow, decision.bundle) == (True, "b")
    await changing


async def test_another_bundle_that_nobody_is_about_to_activate_is_a_no(world: World) -> None:
    """The mismatch stands."""
    world.engines["a"].code = "policy.bundle_mismatch"
    decision = await world.ask()
    assert [reason.code for reason in decision.reasons] == ["policy.bundle_mismatch"]


async def test_many_changes_under_load_lose_no_decision(world: World) -> None:
    """Each decision is a yes of the bundle that was in force when it was asked for, or of a later one."""
    answers: list[Decision] = []

    async def asking() -> None:
        for _ in range(200):
            answers.append(await world.ask())
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(asking()) for _ in range(8)]
    for number in range(40):
        await world.activate(f"b{number}")
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert len(answers) == 1_600
    assert all(answer.allow for answer in answers)
    assert len({answer.bundle for answer in answers}) > 10


async def test_closing_closes_every_engine(world: World) -> None:
    """The one in force last."""
    await world.activate("b")
    await world.book.close()
    assert world.engines["a"].events == ["close"]
    assert world.engines["b"].events == ["start", "close"]
