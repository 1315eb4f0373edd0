"""The part of the store that holds hooks: what is asked of it, and what it promises."""

from collections.abc import Mapping

from engine.clock import Clock
from gateway.store import hooks
from gateway.store.hook_records import Activation, HookRecord, NewActivation, NewHook, Publication, StoredHook
from gateway.store.reader import Reader
from gateway.store.writer import GroupCommitWriter


class HookStore:
    """One gateway's published hooks. Every method may raise StoreError; what was not committed was not done."""

    def __init__(self, writer: GroupCommitWriter, reader: Reader, clock: Clock) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock

    async def publish(self, hook: NewHook) -> Publication:
        """Record a version, or return the one that is the same, byte for byte and of the same publisher.

        Raises:
            ConflictError: `hook.version_exists`, there is another under this name and version.
            HookRefusedError: `hook.name_taken`, another publisher has the name; `hook.kind_changed`.
            OverloadedError: `hook.too_many_versions`, `hook.registry_full`.
        """
        now = self._clock.now()
        return await self._writer.submit(lambda c: hooks.publish(c, hook, now))

    async def get(self, name: str, version: str) -> StoredHook:
        """Return a version with its files.

        Raises:
            NotFoundError: `hook.not_found`.
        """
        return await self._reader.run(lambda c: hooks.stored_hook(c, name, version))

    async def list(self, name: str | None = None) -> tuple[HookRecord, ...]:
        """Return the versions of one name, or of all: by name, the newest publication first."""
        return await self._reader.run(lambda c: hooks.list_hooks(c, name))

    async def active(self) -> tuple[Activation, ...]:
        """Return what is enabled, by name."""
        return await self._reader.run(hooks.active)

    async def history(self, name: str) -> tuple[Activation, ...]:
        """Return a name's activations, newest first."""
        return await self._reader.run(lambda c: hooks.history(c, name))

    async def before(self, name: str) -> tuple[Activation, Activation]:
        """Return what holds for a name, and what held before.

        Raises:
            ConflictError: `hook.nothing_before`.
        """
        return await self._reader.run(lambda c: hooks.before(c, name))

    async def activate(self, activation: NewActivation) -> Activation:
        """Record what holds for a name from now on.

        Raises:
            StoreError: `store.constraint`, there is no such version.
        """
        now = self._clock.now()
        return await self._writer.submit(lambda c: hooks.activate(c, activation, now))

    async def undo(self, activation: Activation, by: str) -> None:
        """Let hold again what held before an activation.

        Raises:
            ConflictError: `hook.changed`, the activation no longer holds.
        """
        now = self._clock.now()
        await self._writer.submit(lambda c: hooks.undo(c, activation.seq, by, now))

    async def use_modules(self, modules: Mapping[str, bytes]) -> None:
        """Record the modules in force, by SHA-256, and forget what nothing can need any more."""
        now = self._clock.now()
        await self._writer.submit(lambda c: hooks.use_modules(c, modules, now))

    async def module(self, sha256: str) -> bytes:
        """Return a module.

        Raises:
            NotFoundError: `hook.module_not_found`.
        """
        return await self._reader.run(lambda c: hooks.module(c, sha256))
