"""What the process is asked to do while it serves: SIGTERM and SIGINT stop it, a second one at once; SIGHUP reloads."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import Final

from engine.errors import EngineError

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_LOG: Final = logging.getLogger(__name__)


class Signals:
    """Listens from `install` on; on one event loop."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.cut = asyncio.Event()  # steps at work get no more time
        self._reload = asyncio.Event()

    def install(self) -> None:
        """Take the signals of this process over."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self.asked_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self.asked_to_reload)

    def asked_to_stop(self) -> None:
        """Stop; asked once more, do not wait for what is at work."""
        if self.stop.is_set():
            self.cut.set()
        self.stop.set()

    def asked_to_reload(self) -> None:
        """Read the configuration anew; asked again while that is under way, once more after it."""
        self._reload.set()

    async def follow_reloads(self, reload: Callable[[], Awaitable[object]]) -> None:
        """Call `reload` for each SIGHUP, until cancelled; one that fails has changed nothing, and said why."""
        while True:
            await self._reload.wait()
            self._reload.clear()
            try:
                await reload()
            except EngineError as error:
                _LOG.error("reload refused: %s [%s]", error.message, error.code)
