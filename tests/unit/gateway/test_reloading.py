"""The configuration read anew: everything that can change does, or nothing; and the log has it first."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from engine.errors import EngineError
from engine.values import JsonObject
from gateway.config import Config
from gateway.errors import ConfigProblem, ConfigurationError
from gateway.reloading import Reloaded, Reloader

SHA = "a" * 64
TOKEN = {"sha256": SHA, "subject": "ann"}


@dataclass
class Log:
    """Takes events, and says what had been adopted by then."""

    order: list[str]
    events: list[tuple[str, JsonObject]] = field(default_factory=list)
    dead: bool = False

    def append(self, event_type: str, *, actor: str, target: str, details: JsonObject) -> int:
        assert actor == target == "gateway"
        if self.dead:
            raise EngineError("no more events", code="audit.unavailable")
        self.events.append((event_type, details))
        return len(self.events) - 1

    async def durable(self, seq: int) -> None:
        assert seq == len(self.events) - 1
        self.order.append("durable")


@dataclass
class World:
    """A reloader whose file is the test's."""

    files: list[Config | ConfigurationError]
    order: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log = Log(self.order)
        self.reloader = Reloader(self.load, Config(), self.log)
        self.reloader.adopting("tokens", adopt=self.adopt)

    def load(self) -> Config:
        found = self.files.pop(0)
        if isinstance(found, ConfigurationError):
            raise found
        return found

    def adopt(self, config: Config) -> None:
        self.order.append("adopted")
        self.tokens = [token.subject for token in config.tokens]


def config(**keys: object) -> Config:
    return Config.model_validate(keys)


async def test_what_can_be_adopted_is_and_the_log_has_it_before() -> None:
    """Keys below a registered one as well; the event names keys, and no value."""
    world = World([config(tokens=[TOKEN], limits={"steps_max": 7})])
    done = await world.reloader.reload()
    assert (done.adopted, done.restart) == (("tokens",), ("limits.steps_max",))
    assert world.tokens == ["ann"]
    assert world.order == ["durable", "adopted"]
    assert world.log.events == [("gateway.reloaded", {"adopted": ["tokens"], "restart": ["limits.steps_max"]})]


async def test_a_key_that_waits_is_named_until_it_is_taken_back() -> None:
    """It is held against what runs, and not against the file before."""
    world = World([config(limits={"steps_max": 7}), config(limits={"steps_max": 7}, tokens=[TOKEN]), config()])
    assert (await world.reloader.reload()).restart == ("limits.steps_max",)
    assert (await world.reloader.reload()).restart == ("limits.steps_max",)
    assert await world.reloader.reload() == Reloaded(adopted=("tokens",), restart=())


async def test_a_bad_file_changes_nothing_and_is_recorded() -> None:
    """With its code and how much is wrong; the next good one is taken."""
    broken = ConfigurationError(
        "two rules", problems=[ConfigProblem(field=name, rule="no", place="file") for name in ("a", "b")]
    )
    world = World([broken, config(tokens=[TOKEN])])
    with pytest.raises(ConfigurationError):
        await world.reloader.reload()
    assert world.order == ["durable"]
    assert world.log.events == [("gateway.reload_refused", {"code": "config.invalid", "problems": 2})]
    assert (await world.reloader.reload()).adopted == ("tokens",)


async def test_a_part_that_cannot_get_ready_stops_all_of_them() -> None:
    """A certificate that is not there leaves the tokens as they were, too."""
    world = World([config(tokens=[TOKEN])])

    def prepare(_: Config) -> Callable[[], None]:
        raise ConfigurationError("no such certificate", code="tls.unreadable")

    world.reloader.preparing("listen", prepare=prepare)
    with pytest.raises(ConfigurationError):
        await world.reloader.reload()
    assert world.tokens == []
    assert world.log.events == [("gateway.reload_refused", {"code": "tls.unreadable", "problems": 1})]


async def test_what_cannot_be_recorded_is_not_adopted() -> None:
    """With the log goes the change."""
    world = World([config(tokens=[TOKEN])])
    world.log.dead = True
    with pytest.raises(EngineError):
        await world.reloader.reload()
    assert world.tokens == []


async def test_parts_are_asked_also_where_no_key_has_changed() -> None:
    """What a key names may have: a certificate is renewed under its name."""
    world = World([config()])
    assert (await world.reloader.reload()).adopted == ()
    assert world.order == ["durable", "adopted"]
