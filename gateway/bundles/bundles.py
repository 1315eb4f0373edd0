"""Bundles of a running gateway: which one decides, how that changes, and how it follows its source.

A change is made in this order: (1) the bundle is read from what is kept, verified and vetted as if it came from
outside, and the log has who asked for it, (2) the engine takes it (`Activation`), (3) the history says so, (4) the log
says so under a signed checkpoint. What fails before (3) leaves in force what was. One change is made at a time, and
what a person asks for goes before what the source has given meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from engine.errors import EngineError, FaultError
from gateway.bundles.acceptance import newer
from gateway.bundles.entry import BundleStatus, Entry, KeptBundle, Mark, Origin
from gateway.bundles.freshness import Freshness, Seen
from gateway.bundles.ledger import BundleLedger
from gateway.bundles.parts import Activation, BundlesParts
from gateway.bundles.shelf import Shelf
from gateway.bundles.sources import Fetched
from gateway.detached import Detached
from gateway.errors import BundleSourceError, ConflictError, PolicyInvalidError, StoreError
from gateway.policy.bundle import Bundle

POLL_SECONDS: Final = 30.0  # of a server, where nothing else is said

_LOG: Final = logging.getLogger(__name__)


class Bundles:
    """The one that decides, those that are kept, and the source. `start` comes before all else, then `attach`."""

    def __init__(self, ground: BundlesParts) -> None:
        """Take the parts; nothing is asked yet.

        Raises:
            ConfigurationError: `config.policy_source`: an unsigned bundle from a URL would be taken.
        """
        ground.acceptance.check_source(ground.source)
        self._ground = ground
        self._source, self._acceptance, self._history = ground.source, ground.acceptance, ground.history
        self._shelf = Shelf(ground.acceptance, ground.history, ground.clock)
        self._ledger = BundleLedger(ground.audit)
        self._freshness = Freshness(
            ground.clock, confirmed=ground.history.confirmed(), stale_seconds_max=ground.stale_seconds_max
        )
        self._poll_seconds = ground.poll_seconds or (POLL_SECONDS if ground.source.remote else None)
        self._activation: Activation | None = None
        self._current: Bundle | None = None
        self._changing = asyncio.Lock()  # one change at a time, each on what the one before has left
        self._calls = Detached()
        self._acts = 0  # of people: what the source gave before the last of them is not put in force any more
        self._seen = Seen()
        self._told_stale = False

    # --- start and stop ---

    async def start(self) -> Bundle:
        """Return the bundle that decides first: what a person has pinned, or else what the source gives.

        Where a server gives none, or one that is not acceptable, it is the one that was in force when the gateway
        stopped. A folder or an archive of this machine has to be right.

        Raises:
            PolicyInvalidError, BundleSourceError, StoreError: there is none that may decide.
        """
        state = self._history.state
        if state.active is not None and state.pinned:
            self._current = await self._shelf.kept(self._history.find(state.active))
            return self._current
        try:
            fetched, bundle = await self._ask(state.mark)
        except (BundleSourceError, PolicyInvalidError) as error:
            if not self._source.remote or state.active is None:
                raise
            self._freshness.fail(error)
            self._ledger.later_refused(error)
            self._current = await self._shelf.kept(self._history.find(state.active))
            return self._current
        origin: Origin = "source" if state.entries else "initial"
        entry, new = await self._shelf.keep(bundle, origin, by=None)
        if new:
            self._ledger.later_published(entry)
        if state.active != entry.digest:
            self._ledger.later_activated(entry, before=state.active)
        mark = newer(state.mark, bundle)
        await asyncio.to_thread(self._history.activate, entry.digest, pinned=False, mark=mark)
        self._current = bundle
        await self._confirmed(Seen.of(fetched))
        return bundle

    def attach(self, activation: Activation) -> None:
        """Name the engine that takes further bundles; it has the one that `start` has returned."""
        self._activation = activation

    async def run(self) -> None:
        """Write down what `start` has found, then ask the source again and again until this is cancelled.

        Where the source is not asked again, this returns.
        """
        await self._ledger.write_what_is_late()
        while self._poll_seconds is not None:
            await asyncio.sleep(self._freshness.wait_seconds(self._poll_seconds, self._ground.chance()))
            await self.poll()

    async def close(self) -> None:
        """Let changes under way end."""
        await self._calls.settled()

    # --- what people do ---

    async def publish(self, archive: bytes, by: str) -> Entry:
        """Verify, vet and keep a bundle; it decides when it is activated. The same once more is no error.

        Args:
            archive: tar.gz.
            by: the actor, as events name it.

        Raises:
            PolicyInvalidError: it is not accepted; the refusal is in the log.
            StoreError: there is no room for it.
        """
        return await self._calls.run(self._publish(archive, by))

    async def _publish(self, archive: bytes, by: str) -> Entry:
        try:
            bundle = await self._shelf.read(archive)
        except PolicyInvalidError as error:
            await self._ledger.refused(error, where="publish", by=by)
            raise
        async with self._changing:
            entry, new = await self._shelf.keep(bundle, "published", by=by)
        if new:
            await self._ledger.published(entry, by=by)
        return entry

    async def activate(self, name: str, by: str) -> Entry:
        """Put a kept bundle in force and pin it: the source changes nothing until `follow_source`.

        Args:
            name: a digest, its unique beginning, or a revision.
            by: the actor.

        Raises:
            NotFoundError: `policy.bundle_not_found`.
            ConflictError: `policy.bundle_ambiguous`.
            PolicyInvalidError: it is not accepted any more (another key is configured, say), or is damaged.
            EngineError: the engine does not take it. In all cases, what was in force is.
        """
        self._acts += 1
        return await self._calls.run(self._activate(name, by))

    async def _activate(self, name: str, by: str) -> Entry:
        async with self._changing:
            entry = self._history.find(name)
            bundle = await self._read_again(entry, by)
            mark = newer(self._history.state.mark, bundle)

            def commit() -> None:
                self._history.activate(entry.digest, pinned=True, mark=mark)

            await self._switch(entry, bundle, commit, cause="activate", by=by)
        return entry

    async def rollback(self, by: str, *, only: str = "") -> Entry:
        """Put in force again what was before the last change, and pin it; once more goes back further.

        Args:
            by: the actor.
            only: digest that has to be in force; "" takes back whatever is.

        Raises:
            ConflictError: `policy.changed`, another is in force than `only`.
            ConflictError: `policy.nothing_before`.
            EngineError: as `activate`.
        """
        self._acts += 1
        return await self._calls.run(self._rollback(by, only))

    async def _rollback(self, by: str, only: str) -> Entry:
        async with self._changing:
            if only and only != self.current.digest:
                raise ConflictError(f"{only} is not in force: {self.current.digest} is", code="policy.changed")
            previous = self._history.state.previous
            if previous is None:
                raise ConflictError("no bundle was in force before this one", code="policy.nothing_before")
            entry = self._history.find(previous)
            bundle = await self._read_again(entry, by)
            await self._switch(entry, bundle, self._history.roll_back, cause="rollback", by=by)
        return entry

    async def follow_source(self, by: str, *, allow_older: bool = False) -> Entry:
        """Ask the source now, put in force what it gives, and let it change what is in force from now on.

        Args:
            by: the actor.
            allow_older: take it although something newer was in force, and count from it from now on.

        Raises:
            BundleSourceError: it gives none; what is pinned stays so.
            PolicyInvalidError: what it gives is not accepted, or is older.
            EngineError: as `activate`.
        """
        self._acts += 1
        return await self._calls.run(self._follow(by, allow_older=allow_older))

    async def _follow(self, by: str, *, allow_older: bool) -> Entry:
        async with self._changing:
            mark = None if allow_older else self._history.state.mark
            try:
                fetched, bundle = await self._ask(mark)
            except PolicyInvalidError as error:
                await self._ledger.refused(error, where="source", by=by)
                raise
            entry = await self._take(bundle, cause="follow", by=by, mark=newer(mark, bundle))
            await self._confirmed(Seen.of(fetched))
        return entry

    # --- what the source does ---

    async def poll(self) -> None:
        """Ask the source once, and put in force what it gives that is new, unless a person has pinned another.

        What fails is in `status`; what is refused is in the log as well, once for the same content.
        """
        acts = self._acts
        try:
            try:
                fetched = await self._source.fetch(self._seen.etag)
            except BundleSourceError as error:
                self._freshness.fail(error)
            except PolicyInvalidError as error:  # it was not even read: too large, or a link in a folder
                self._freshness.fail(error)
                await self._ledger.refused_once(error, where="source")
            else:
                if fetched is None or Seen.of(fetched).archive == self._seen.archive:
                    await self._same_again(fetched)
                else:
                    await self._calls.run(self._changed(fetched, acts))
            await self._tell_staleness()
        except EngineError as error:  # the log or the disk
            self._freshness.fail(error)
        except Exception:  # noqa: BLE001 - a fault of ours must not end the questions for good
            _LOG.exception("the source of bundles could not be followed")
            self._freshness.fail(FaultError("the gateway could not follow the source", code="internal"))

    async def _same_again(self, fetched: Fetched | None) -> None:
        """The source gives what it gave before: that is worth what it was worth then."""
        if self._seen.refused is not None:
            self._freshness.fail(self._seen.refused)
        else:
            await self._confirmed(self._seen if fetched is None else Seen.of(fetched))

    async def _changed(self, fetched: Fetched, acts: int) -> None:
        """The source gives something new: take it, or say once why not."""
        seen = Seen.of(fetched)
        try:
            bundle = await self._shelf.read(fetched.archive)
            async with self._changing:
                state = self._history.state
                if self._acts != acts and not state.pinned:
                    return  # somebody has followed the source meanwhile: the next question is about what it gave then
                self._acceptance.check_forward(bundle, state.mark, self._source)
                if not state.pinned:
                    await self._take(bundle, cause="source", by=None, mark=newer(state.mark, bundle))
                await self._confirmed(seen)
        except PolicyInvalidError as error:
            self._freshness.fail(error)
            self._seen = Seen(etag=seen.etag, archive=seen.archive, refused=error)
            await self._ledger.refused_once(error, where="source", archive=seen.archive)
        except EngineError as error:  # the engine or the disk could not take it: it is tried again
            self._freshness.fail(error)
            await self._ledger.refused_once(error, where="activation", archive=seen.archive)

    async def _ask(self, mark: Mark | None) -> tuple[Fetched, Bundle]:
        """Ask the source for what it has, and return that, if it may decide by itself."""
        fetched = await self._source.fetch("")
        if fetched is None:
            raise BundleSourceError("the source says that nothing has changed, and was not asked that")
        bundle = await self._shelf.read(fetched.archive)
        self._acceptance.check_forward(bundle, mark, self._source)
        return fetched, bundle

    # --- small parts ---

    async def _take(self, bundle: Bundle, *, cause: str, by: str | None, mark: Mark | None) -> Entry:
        """Keep what the source has given, and put it in force."""
        entry, new = await self._shelf.keep(bundle, "source", by=by)
        if new:
            await self._ledger.published(entry, by=by)

        def commit() -> None:
            self._history.activate(entry.digest, pinned=False, mark=mark)

        if by is None and self._current is not None and bundle.digest == self._current.digest:
            if mark != self._history.state.mark:
                await asyncio.to_thread(commit)
            return entry
        await self._switch(entry, bundle, commit, cause=cause, by=by)
        return entry

    async def _switch(
        self, entry: Entry, bundle: Bundle, commit: Callable[[], None], *, cause: str, by: str | None
    ) -> None:
        """Make the change; the numbers are those of the module's docstring, (1) is done."""
        before, activation = self._current, self._activation
        if before is None or activation is None:
            raise ConflictError("the gateway has not started yet", code="policy.not_started")
        changes = bundle.digest != before.digest
        if by is not None:  # who it was is known also where the gateway is killed before (4)
            await self._ledger.asked(entry, before=before.digest, cause=cause, by=by)
        try:
            if changes:
                await activation.activate(bundle)  # (2)
            try:
                await asyncio.to_thread(commit)  # (3)
            except EngineError:
                if changes:
                    await self._undo(activation, before, bundle)
                raise
        except EngineError as error:
            if by is not None:
                await self._ledger.refused(error, where="activation", by=by, digest=entry.digest)
            raise
        self._current = bundle
        await self._ledger.activated(entry, before=before.digest, cause=cause, by=by)  # (4)

    async def _undo(self, activation: Activation, before: Bundle, bundle: Bundle) -> None:
        """Give the engine back what it had. If it does not take that either, the new one decides until a restart."""
        try:
            await activation.activate(before)
        except EngineError:
            self._current = bundle

    async def _read_again(self, entry: Entry, by: str) -> Bundle:
        try:
            return await self._shelf.kept(entry)
        except PolicyInvalidError as error:
            await self._ledger.refused(error, where="activation", by=by, digest=entry.digest)
            raise

    async def _confirmed(self, seen: Seen) -> None:
        """The source has given, or confirmed, what may be in force."""
        self._seen = seen
        moment = self._freshness.confirm()
        with suppress(StoreError):  # a restart would count from an earlier moment
            await asyncio.to_thread(self._history.confirm, moment)

    async def _tell_staleness(self) -> None:
        if self.stale != self._told_stale:
            self._told_stale = self.stale
            await self._ledger.stale(self._told_stale, self._freshness.age_seconds)

    # --- questions ---

    @property
    def current(self) -> Bundle:
        """The bundle that decides; `start` has chosen the first."""
        if self._current is None:
            raise ConflictError("the gateway has not started yet", code="policy.not_started")
        return self._current

    @property
    def stale(self) -> bool:
        """Whether the source was not heard of for too long. Never, where a person has pinned or nothing is polled."""
        return self._poll_seconds is not None and not self._history.state.pinned and self._freshness.stale

    def list(self) -> tuple[KeptBundle, ...]:
        """Return what is kept, the newest first."""
        state = self._history.state
        return tuple(
            KeptBundle(entry=entry, active=entry.digest == state.active, previous=entry.digest == state.previous)
            for entry in reversed(state.entries)
        )

    def status(self) -> BundleStatus:
        """Return how things stand."""
        state, freshness = self._history.state, self._freshness
        return BundleStatus(
            active=self._history.find(self.current.digest),
            pinned=state.pinned,
            source=self._source.name,
            confirmed_at=freshness.confirmed_at,
            age_seconds=freshness.age_seconds,
            stale=self.stale,
            failure=freshness.failure,
            mark=state.mark,
        )

    async def read(self, name: str) -> Bundle:
        """Return a kept bundle, verified and vetted anew, by the names that `activate` takes.

        Raises:
            EngineError: as `activate`.
        """
        return await self._shelf.kept(self._history.find(name))
