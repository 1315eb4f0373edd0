"""The registry: what is published, what of it is in force, and how that changes while missions run.

What is in force is so for all tenants; what each sees of it, `gateway.registry.visible` says. A change is made in an
order that leaves no gap: (1) the hook is verified as if it came from outside, (2) its workers are started, (3) the
change is in the store, (4) it is in the log under a signed checkpoint, (5) the next step sees it. What fails before (5)
leaves the set in force as it is. A gateway that is killed between (3) and (5) starts with the change, and
`gateway.started` says so before anything runs.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

from engine.errors import EngineError
from engine.values import JsonValue
from gateway.detached import Detached
from gateway.errors import ConflictError, HookRefusedError, NotFoundError, StoreError
from gateway.events import Audit, EventType, code_document
from gateway.hookset import ActiveHook, HookSet
from gateway.identity import Principal, actor
from gateway.registry.placement import Placement
from gateway.registry.views import HookDetail, HookView, Published, base_view, view_of
from gateway.sandbox.compile import check_bytes
from gateway.sandbox.files import HookFiles
from gateway.sandbox.fleet import Fleet
from gateway.sandbox.hooks import Hook, hook_of
from gateway.sandbox.manifest import parse_manifest
from gateway.sandbox.port import Sandbox
from gateway.sandbox.routing import RoutedSandbox
from gateway.sandbox.signature import Publisher, publisher_of
from gateway.store.hook_records import Activation, NewActivation, NewHook, StoredHook
from gateway.store.hook_store import HookStore

_NO_SANDBOX: Final = RoutedSandbox({})


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryParts:
    """What the registry stands on."""

    store: HookStore
    audit: Audit
    fleet: Fleet
    base: tuple[ActiveHook, ...]  # of the package and of the configuration: always in force
    publishers: Sequence[Publisher]
    compose: Callable[[Sequence[ActiveHook], Sandbox], HookSet]  # refuses what does not fit together


class Registry:
    """Implements `gateway.hookset.Hooks`; one for a gateway."""

    def __init__(self, ground: RegistryParts) -> None:
        self._ground = ground
        self._store = ground.store
        self._names = frozenset(active.hook.name for active in ground.base)  # which nothing published may have
        self._active: Mapping[str, ActiveHook] = {}  # published ones, by name
        self._current: HookSet = ground.compose(ground.base, _NO_SANDBOX)
        self._changing = asyncio.Lock()  # one change at a time, each on what the one before has left
        self._publishing = asyncio.Lock()  # one jail at a time
        self._calls = Detached()

    @property
    def current(self) -> HookSet:
        """The set for whatever begins now."""
        return self._current

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """Every hook in force."""
        return tuple(active.hook for active in self._all(self._active))

    def pins(self) -> dict[str, JsonValue]:
        """Return the SHA-256 of the module of each hook in force."""
        return {hook.name: hook.sha256 for hook in self.hooks}

    async def start(self) -> None:
        """Put in force what was when the gateway stopped; before anything is asked of it.

        Raises:
            HookRefusedError: a hook that is enabled is not accepted any more, because its publisher, its profile or
                what is stored of it has changed. To go on without a screen would be to fail open.
            SandboxError, StoreError: workers, or the store, do not answer.
        """
        active: dict[str, ActiveHook] = {}
        for activation in await self._store.active():
            try:
                active[activation.name] = await self._stored(activation)
            except HookRefusedError as error:
                text = f"hook {activation.name}, which is enabled: {error.message}"
                raise HookRefusedError(text, code=error.code, field=error.field) from error
        await self._change(active, self._nothing)

    async def close(self) -> None:
        """Let changes under way end."""
        await self._calls.settled()

    # --- publishing ---

    async def publish(self, principal: Principal, files: HookFiles) -> Published:
        """Take a hook into the registry; it is in force when it is enabled. The same once more is no error.

        Raises:
            HookRefusedError: a rule of registration, of its signature, or of its name; the refusal is in the log.
            ConflictError: `hook.version_exists`.
            OverloadedError: there is no room.
            FaultError: no jail, no store or no log.
        """
        return await self._calls.run(self._publish(actor(principal), principal.tenant, files))

    async def _publish(self, by: str, tenant: str, files: HookFiles) -> Published:
        try:
            async with self._publishing:
                hook = self._verified(files)
                if hook.name in self._names:
                    raise HookRefusedError(
                        f"name: {hook.name} is a hook of this gateway's own", code="hook.name_taken", field="name"
                    )
                self._ground.compose((*self._ground.base, ActiveHook(hook=hook)), _NO_SANDBOX)
                await self._ground.fleet.check(hook)
                publication = await self._store.publish(_new_hook(hook, files, by, tenant))
        except EngineError as error:
            await self._record(EventType.HOOK_PUBLISH_REFUSED, by, _target(files), code_document(error))
            raise
        details = {"created": publication.created, **_facts(hook)}
        await self._record(EventType.HOOK_PUBLISHED, by, hook.key, details)
        view = view_of(publication.record, self._active.get(hook.name))
        return Published(view=view, created=publication.created)

    def _verified(self, files: HookFiles) -> Hook:
        """Return the hook that the files are: bounds, magic bytes, signature, pin, schema."""
        check_bytes(files.module)
        publisher = publisher_of(files, self._ground.publishers)
        return hook_of(files, publisher=publisher.name)

    # --- what is in force ---

    async def enable(self, principal: Principal, name: str, version: str, placement: Placement) -> HookView:
        """Put a published version in force, in the place of the one that is.

        Raises:
            NotFoundError: `hook.not_found`.
            HookRefusedError: it is not accepted any more, or it does not fit beside what is in force.
            FaultError: its workers do not come up, or store or log do not answer; the set in force stays.
        """
        new = NewActivation(
            name=name,
            version=version,
            order=placement.order,
            step_types=tuple(placement.step_types),
            labels=dict(placement.labels),
            by=actor(principal),
        )
        return await self._calls.run(self._enable(new, placement))

    async def _enable(self, new: NewActivation, placement: Placement) -> HookView:
        self._require_published(new.name)
        async with self._changing:
            stored = await self._store.get(new.name, new.version or "")
            active = placement.of(self._hook(stored))

            async def commit() -> None:
                await self._store.activate(new)

            after = {**self._active, new.name: active}
            await self._change(after, commit, EventType.HOOK_ENABLED, new.by, new.name)
        return view_of(stored.record, active)

    async def disable(self, principal: Principal, name: str, version: str = "") -> None:
        """Take a published hook out of force; a mission's step of that kind which begins later fails.

        Raises:
            ConflictError: `hook.not_enabled`; `hook.changed`, another version than `version` is in force;
                `hook.not_published`, it is the gateway's own.
            FaultError: as `enable`.
        """
        await self._calls.run(self._disable(actor(principal), name, version))

    async def _disable(self, by: str, name: str, version: str) -> None:
        self._require_published(name)
        async with self._changing:
            self._require_in_force(name, version)
            if name not in self._active:
                raise ConflictError(f"{name} is not enabled", code="hook.not_enabled")
            none = NewActivation(name=name, version=None, order=0, step_types=(), labels={}, by=by)

            async def commit() -> None:
                await self._store.activate(none)

            after = {key: active for key, active in self._active.items() if key != name}
            await self._change(after, commit, EventType.HOOK_DISABLED, by, name)

    async def rollback(self, principal: Principal, name: str, version: str = "") -> HookView | None:
        """Let hold again what held for a name before its last change; None where that was nothing.

        Raises:
            ConflictError: `hook.nothing_before`, there was no change before; `hook.changed`, `hook.not_published`, as
                `disable`.
            HookRefusedError, FaultError: as `enable`.
        """
        return await self._calls.run(self._rollback(actor(principal), name, version))

    async def _rollback(self, by: str, name: str, version: str) -> HookView | None:
        self._require_published(name)
        async with self._changing:
            self._require_in_force(name, version)
            present, before = await self._store.before(name)
            after = {key: active for key, active in self._active.items() if key != name}
            stored: StoredHook | None = None
            if before.version is not None:
                stored = await self._store.get(name, before.version)
                after[name] = _placement(before).of(self._hook(stored))

            async def commit() -> None:
                await self._store.undo(present, by)

            await self._change(after, commit, EventType.HOOK_ROLLED_BACK, by, name)
        return view_of(stored.record, after[name]) if stored is not None else None

    async def _change(
        self,
        active: Mapping[str, ActiveHook],
        commit: Callable[[], Awaitable[None]],
        event: EventType | None = None,
        by: str = "",
        name: str = "",
    ) -> None:
        """Put another set in force, or leave everything as it is. The numbers are those of the module's docstring."""
        ground, everything = self._ground, self._all(active)
        after = ground.compose(everything, _NO_SANDBOX)
        hooks = [each.hook for each in everything]
        formation = await ground.fleet.prepare(hooks)  # (2)
        kept, before = _kept(everything), _kept(self._all(self._active))
        try:
            # What is in force now stays until (5): a mission that is admitted meanwhile may yet use it.
            await self._store.use_modules({**before, **kept})
            await commit()  # (3)
            if event is not None:
                await self._record(event, by, name, _difference(self._active.get(name), active.get(name)))  # (4)
        except BaseException:
            await ground.fleet.discard(formation)
            raise
        left = ground.fleet.adopt(formation)
        self._current, self._active = replace(after, sandbox=formation.sandbox()), active  # (5)
        await ground.fleet.retire(left)
        if before.keys() - kept.keys():
            with suppress(StoreError):  # the next change, or the next start, retires them as well
                await self._store.use_modules(kept)

    @asynccontextmanager
    async def refitted(
        self, compose: Callable[[Sequence[ActiveHook], Sandbox], HookSet]
    ) -> AsyncIterator[Callable[[], None]]:
        """Return what composes the hooks in force by other rules; no hook changes until the block is left.

        Raises:
            HookRefusedError: they do not fit together under those rules.
        """
        async with self._changing:
            after = compose(self._all(self._active), _NO_SANDBOX)

            def adopt() -> None:
                self._ground = replace(self._ground, compose=compose)
                self._current = replace(after, sandbox=self._current.sandbox)

            yield adopt

    # --- questions ---

    async def views(self) -> list[HookView]:
        """Return all versions, by name, the newest publication first."""
        published = [view_of(record, self._active.get(record.name)) for record in await self._store.list()]
        return sorted([*map(base_view, self._ground.base), *published], key=lambda view: view.name)  # is stable

    async def get(self, name: str, version: str) -> HookDetail:
        """Return one version; "" is the one in force, or else the newest.

        Raises:
            NotFoundError: `hook.not_found`.
        """
        for active in self._ground.base:
            if active.hook.name == name and version in {"", active.hook.version}:
                return HookDetail(view=base_view(active))
        enabled = self._active.get(name)
        if not version:
            versions = await self._store.list(name)
            if not versions:
                raise NotFoundError(f"there is no hook {name}", code="hook.not_found")
            version = versions[0].version if enabled is None else enabled.hook.version
        stored = await self._store.get(name, version)
        return HookDetail(
            view=view_of(stored.record, enabled),
            manifest=stored.manifest,
            schema=stored.schema or b"",
            history=await self._store.history(name),
        )

    # --- small parts ---

    def _all(self, active: Mapping[str, ActiveHook]) -> tuple[ActiveHook, ...]:
        return (*self._ground.base, *active.values())

    def _require_published(self, name: str) -> None:
        if name in self._names:
            message = f"{name} comes with the package or the configuration, and is not changed here"
            raise ConflictError(message, code="hook.not_published")

    def _require_in_force(self, name: str, version: str) -> None:
        """Hold a caller to what it has looked at; "" has looked at nothing."""
        active = self._active.get(name)
        if version and (active is None or active.hook.version != version):
            now = "nothing is" if active is None else f"{active.hook.version} is"
            raise ConflictError(f"{name} {version} is not in force: {now}", code="hook.changed")

    def _hook(self, stored: StoredHook) -> Hook:
        """Return a stored hook, verified again: trust may have changed since, and so may a file on a disk."""
        hook = self._verified(
            HookFiles(manifest=stored.manifest, module=stored.module, schema=stored.schema, signature=stored.signature)
        )
        record = stored.record
        if (hook.name, hook.version, hook.sha256) != (record.name, record.version, record.sha256):
            raise HookRefusedError("what is stored is another hook than was published", code="hook.damaged")
        return hook

    async def _stored(self, activation: Activation) -> ActiveHook:
        stored = await self._store.get(activation.name, activation.version or "")
        return _placement(activation).of(self._hook(stored))

    async def _record(self, event: EventType, by: str, target: str, details: Mapping[str, JsonValue]) -> None:
        audit = self._ground.audit
        await audit.durable(audit.append(event, actor=by, target=target, details=details))

    async def _nothing(self) -> None:
        """Commit nothing: the store has it already."""


def _kept(everything: Sequence[ActiveHook]) -> dict[str, bytes]:
    """Return what a replay of missions under these hooks needs, by SHA-256: modules, and the settings of some."""
    settings = {hashlib.sha256(each.settings).hexdigest(): each.settings for each in everything}
    return {**settings, **{each.hook.sha256: each.hook.module for each in everything}}


def _placement(activation: Activation) -> Placement:
    return Placement(order=activation.order, step_types=activation.step_types, labels=activation.labels)


def _new_hook(hook: Hook, files: HookFiles, by: str, tenant: str) -> NewHook:
    return NewHook(
        name=hook.name,
        version=hook.version,
        kind=hook.kind,
        publisher=hook.publisher,
        sha256=hook.sha256,
        manifest=files.manifest,
        module=files.module,
        schema=files.schema,
        signature=files.signature or b"",
        published_by=by,
        tenant=tenant,
    )


def _target(files: HookFiles) -> str:
    """Return what a refused publication is about, as far as it says so in a form that the log can have."""
    try:
        manifest = parse_manifest(files.manifest)
    except HookRefusedError:
        return "hook"
    return f"{manifest.name}@{manifest.version}"


def _facts(hook: Hook) -> dict[str, JsonValue]:
    return {"version": hook.version, "kind": hook.kind, "publisher": hook.publisher, "sha256": hook.sha256}


def _difference(before: ActiveHook | None, after: ActiveHook | None) -> dict[str, JsonValue]:
    """Return what an event says of a change."""
    out: dict[str, JsonValue] = {"before": before.hook.version if before is not None else None}
    if after is None:
        return {**out, "version": None}
    placed: dict[str, JsonValue] = {
        "order": after.order,
        "step_types": sorted(after.step_types),
        "labels": dict(after.labels),
    }
    return {**out, **_facts(after.hook), **(placed if after.hook.kind != "step" else {})}
