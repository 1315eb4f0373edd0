"""Mission documents on their way in: parsed and sanitized once, and remembered by their digest."""

import asyncio
from typing import Final

from engine.lru import LruCache
from engine.values import JsonObject
from gateway.admission import Admission
from gateway.events import digest
from gateway.stages import SanitizedMission

REMEMBERED_MAX: Final = 1_024
REMEMBERED_BYTES_MAX: Final = 8 * 1024 * 1024  # of documents; what is made of them is some ten times as large
_LARGE_FORM_BYTES: Final = 32 * 1024  # parsed in a thread from here on, so that other calls go on


class Definitions:
    """Stage 1 for all submissions. Its answer stays while the set of hooks does; limits do not change in a process.

    Source: research document, Lazy Loading with Caching Strategy. Refusals are not remembered: who sends a faulty
    document again pays for it again.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._hooks = admission.hooks.current  # with which what is remembered was sanitized
        self._known = _nothing_known()

    async def sanitize(self, form: bytes | JsonObject) -> SanitizedMission:
        """Return the sanitized mission.

        Raises:
            RefusalError: as `Admission.sanitize`.
        """
        if not isinstance(form, bytes):
            return await asyncio.to_thread(self._admission.sanitize, form)
        hooks = self._admission.hooks.current
        if hooks is not self._hooks:
            self._hooks, self._known = hooks, _nothing_known()
        name = digest(form)
        if (known := self._known.get(name)) is not None:
            return known
        if len(form) < _LARGE_FORM_BYTES:
            sanitized = self._admission.sanitize(form)
        else:
            sanitized = await asyncio.to_thread(self._admission.sanitize, form)
        if self._admission.hooks.current is self._hooks is hooks:  # they may have changed while a thread was at it
            self._known.put(name, sanitized, len(form))
        return sanitized


def _nothing_known() -> LruCache[str, SanitizedMission]:
    return LruCache(REMEMBERED_MAX, REMEMBERED_BYTES_MAX)
