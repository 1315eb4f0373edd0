"""The configuration read anew while the gateway runs: all of what can change does, or nothing.

(1) The files are read and every rule is checked. (2) Each part that can take over something gets ready: it reads what
its keys name, and may refuse. (3) What is about to change is in the log. (4) In one turn of the event loop, everything
takes over. What fails before (4) leaves the gateway as it was, and is recorded as well.

A key that no part takes over waits for the next start, and is named at each reload until then.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from engine.errors import EngineError
from engine.values import JsonObject
from gateway.config import Config
from gateway.config_sources import dotted, leaves
from gateway.errors import ConfigurationError
from gateway.events import Audit, EventType

_ACTOR: Final = "gateway"
_LOG: Final = logging.getLogger(__name__)

Adopt = Callable[[], None]
"""Takes over what was prepared. It does not fail, and does not wait."""

Prepare = Callable[[Config], Adopt]
"""Reads what its keys name, in a thread; what it raises as an EngineError refuses the whole reload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """What became of the keys that have changed, dotted names in order."""

    adopted: tuple[str, ...]
    restart: tuple[str, ...]  # these wait for the next start


class Reloader:
    """Knows which parts take over which keys. Used on one event loop."""

    def __init__(self, load: Callable[[], Config], config: Config, audit: Audit) -> None:
        """Prepare.

        Args:
            load: reads and checks the whole configuration, as the start did; raises ConfigurationError.
            config: what is in force.
            audit: gets the events.
        """
        self._load = load
        self._running = _values(config)
        self._audit = audit
        self._parts: list[tuple[tuple[str, ...], Prepare]] = []
        self._turn = asyncio.Lock()

    def adopting(self, *keys: str, adopt: Callable[[Config], None]) -> None:
        """From now on, `adopt` takes over these keys (`tokens`) and those below them (`limits` has `limits.rate`)."""
        self.preparing(*keys, prepare=lambda config: lambda: adopt(config))

    def preparing(self, *keys: str, prepare: Prepare) -> None:
        """As `adopting`, for what has files to read: it is asked at each reload, also where no key has changed."""
        self._parts.append((keys, prepare))

    @property
    def keys(self) -> frozenset[str]:
        """What some part takes over: keys, and tables of them."""
        return frozenset(key for keys, _ in self._parts for key in keys)

    async def reload(self) -> Reloaded:
        """Read the configuration anew, and adopt what can be adopted; one at a time.

        Raises:
            EngineError: it breaks a rule, or cannot be recorded; nothing has changed. `gateway.reload_refused` is in
                the log where that still takes events.
        """
        async with self._turn:
            try:
                config = await asyncio.to_thread(self._load)
                adopts = [await asyncio.to_thread(prepare, config) for _, prepare in self._parts]
            except EngineError as error:
                await self._refused(error)
                raise
            wanted = _values(config)
            changed = [key for key in wanted if wanted[key] != self._running[key]]
            adopted = tuple(key for key in changed if self._is_adopted(key))
            restart = tuple(key for key in changed if key not in adopted)
            await self._record(EventType.GATEWAY_RELOADED, {"adopted": list(adopted), "restart": list(restart)})
            for adopt in adopts:
                adopt()
            self._running.update({key: wanted[key] for key in adopted})
        _LOG.info("configuration read anew; adopted: %s; for the next start: %s", _names(adopted), _names(restart))
        return Reloaded(adopted=adopted, restart=restart)

    def _is_adopted(self, key: str) -> bool:
        return any(key == known or key.startswith(f"{known}.") for known in self.keys)

    async def _refused(self, error: EngineError) -> None:
        _LOG.error("the configuration was not read anew, nothing has changed: %s", error.message)
        problems = len(error.problems) if isinstance(error, ConfigurationError) else 0
        await self._record(EventType.RELOAD_REFUSED, {"code": error.code, "problems": max(problems, 1)})

    async def _record(self, event: EventType, details: JsonObject) -> None:
        await self._audit.durable(self._audit.append(event, actor=_ACTOR, target=_ACTOR, details=details))


def _values(config: Config) -> dict[str, Any]:
    return {dotted(path): value for path, _, value in leaves(config)}


def _names(keys: tuple[str, ...]) -> str:
    return ", ".join(keys) or "nothing"
