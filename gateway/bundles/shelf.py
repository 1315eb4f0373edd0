"""Puts bundles away and takes them out again, each time verified and vetted, out of the event loop."""

import asyncio

from engine.clock import Clock
from gateway.bundles.acceptance import Acceptance
from gateway.bundles.entry import GATEWAY, Entry, Origin, archive_digest
from gateway.bundles.history import History
from gateway.errors import PolicyInvalidError
from gateway.policy.bundle import Bundle
from gateway.policy.bundle_files import write_archive


class Shelf:
    """What is kept, as bundles. Whoever keeps one holds the lock of changes."""

    def __init__(self, acceptance: Acceptance, history: History, clock: Clock) -> None:
        self._acceptance = acceptance
        self._history = history
        self._clock = clock
        self._reading = asyncio.Lock()  # vetting takes a core: one bundle at a time, whoever sends them

    async def read(self, archive: bytes) -> Bundle:
        """Return the bundle of an archive, verified and vetted.

        Raises:
            PolicyInvalidError: it may not decide.
        """
        async with self._reading:
            return await asyncio.to_thread(self._acceptance.read, archive)

    async def kept(self, entry: Entry) -> Bundle:
        """Return a kept bundle, verified and vetted again: trust may have changed since, and so may a file on a disk.

        Raises:
            PolicyInvalidError: it may not decide any more; `policy.bundle_damaged`.
        """
        bundle = await self.read(await asyncio.to_thread(self._history.archive, entry))
        if bundle.digest != entry.digest:
            message = f"what is kept of {entry.digest} is another bundle"
            raise PolicyInvalidError(message, code="policy.bundle_damaged")
        return bundle

    async def keep(self, bundle: Bundle, origin: Origin, *, by: str | None) -> tuple[Entry, bool]:
        """Keep a bundle, and return its entry and whether that is a new one: new files, a new number or signature.

        Raises:
            PolicyInvalidError: `policy.too_large`.
            StoreError: it could not be written; nothing has changed.
        """
        archive = await asyncio.to_thread(write_archive, bundle.files)
        entry = Entry(
            digest=bundle.digest,
            revision=bundle.revision,
            sequence=bundle.sequence,
            origin=origin,
            by=by or GATEWAY,
            at=self._clock.now(),
            signed_by=bundle.signed_by,
            archive=archive_digest(archive),
            archive_bytes=len(archive),
        )
        there = self._history.state.entry(bundle.digest)
        if there is not None and there.archive == entry.archive and await asyncio.to_thread(self._history.holds, there):
            return there, False
        await asyncio.to_thread(self._history.keep, entry, archive)
        return entry, True
