"""What the log says of bundles: what was kept, put in force or refused, by whom, and whether the source is heard of."""

from collections.abc import Mapping
from typing import Final

from engine.errors import EngineError
from engine.values import JsonValue
from gateway.bundles.entry import GATEWAY, Entry
from gateway.errors import PolicyInvalidError
from gateway.events import Audit, EventType, code_document

_NONE: Final = "bundle"  # the target of a refusal, where what was refused has no digest


class BundleLedger:
    """Writes events, each under a signed checkpoint before the call returns."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._late: list[tuple[EventType, str, Mapping[str, JsonValue]]] = []
        self._refused: tuple[str, ...] = ()  # the last thing that was refused once

    async def published(self, entry: Entry, *, by: str | None) -> None:
        """A bundle is kept."""
        await self._record(EventType.BUNDLE_PUBLISHED, by, entry.digest, entry.facts())

    async def asked(self, entry: Entry, *, before: str, cause: str, by: str) -> None:
        """Somebody puts a bundle in force: `activated` or `refused` follows, unless the gateway is killed."""
        details = {**entry.facts(), "before": before, "cause": cause}
        await self._record(EventType.BUNDLE_ASKED, by, entry.digest, details)

    async def activated(self, entry: Entry, *, before: str | None, cause: str, by: str | None) -> None:
        """A bundle decides from now on."""
        details = {**entry.facts(), "before": before, "cause": cause}
        await self._record(EventType.BUNDLE_ACTIVATED, by, entry.digest, details)

    async def refused(self, error: EngineError, *, where: str, by: str, digest: str = _NONE) -> None:
        """Somebody's bundle was not taken."""
        await self._record(EventType.BUNDLE_REFUSED, by, digest, _refusal(error, where, {}))

    async def refused_once(self, error: EngineError, *, where: str, archive: str = "") -> None:
        """The source's bundle was not taken; said once, as long as it gives the same."""
        what = (where, error.code, archive or error.message)
        if what != self._refused:
            await self._record(EventType.BUNDLE_REFUSED, None, _NONE, _refusal(error, where, {"archive": archive}))
            self._refused = what

    async def stale(self, stale: bool, age_seconds: float | None) -> None:
        """The source was not heard of for too long, or is again."""
        details = {"stale": stale, "age_seconds": None if age_seconds is None else round(age_seconds)}
        await self._record(EventType.BUNDLE_STALE, None, _NONE, details)

    # --- what is known before there is a log to write it to ---

    def later_published(self, entry: Entry) -> None:
        """As `published`, when `write_what_is_late` is called."""
        self._late.append((EventType.BUNDLE_PUBLISHED, entry.digest, entry.facts()))

    def later_activated(self, entry: Entry, *, before: str | None) -> None:
        """As `activated`, likewise."""
        details = {**entry.facts(), "before": before, "cause": "start"}
        self._late.append((EventType.BUNDLE_ACTIVATED, entry.digest, details))

    def later_refused(self, error: EngineError) -> None:
        """As `refused_once`, likewise."""
        self._late.append((EventType.BUNDLE_REFUSED, _NONE, _refusal(error, "start", {})))

    async def write_what_is_late(self) -> None:
        """Write what the start has found."""
        while self._late:
            event, target, details = self._late[0]
            await self._record(event, None, target, details)
            self._late.pop(0)

    async def _record(self, event: EventType, by: str | None, target: str, details: Mapping[str, JsonValue]) -> None:
        await self._audit.durable(self._audit.append(event, actor=by or GATEWAY, target=target, details=details))


def _refusal(error: EngineError, where: str, more: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return what an event says of a refusal: the code, and where in the bundle; no text out of it."""
    out: dict[str, JsonValue] = {**code_document(error), "where": where, **more}
    if isinstance(error, PolicyInvalidError) and error.file:
        out["file"] = error.file
        if error.line is not None:
            out["line"] = error.line
    return out
