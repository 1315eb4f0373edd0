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
    """Stage 1 for all submissions. Kinds and limits do not change while a gateway runs, so its answer does not either.

    Source: research document, Lazy Loading with Caching Strategy. Refusals are not remembered: who sends a faulty
    document again pays for it again.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._known: LruCache[str, SanitizedMission] = LruCache(REMEMBERED_MAX, REMEMBERED_BYTES_MAX)

    async def sanitize(self, form: bytes | JsonObject) -> SanitizedMission:
        """Return the sanitized mission.

        Raises:
            RefusalError: as `Admission.sanitize`.
        """
        if not isinstance(form, bytes):
            return await asyncio.to_thread(self._admission.sanitize, form)
        name = digest(form)
        if (known := self._known.get(name)) is not None:
            return known
        if len(form) < _LARGE_FORM_BYTES:
            sanitized = self._admission.sanitize(form)
        else:
            sanitized = await asyncio.to_thread(self._admission.sanitize, form)
        self._known.put(name, sanitized, len(form))
        return sanitized
