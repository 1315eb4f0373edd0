"""The registry when something fails in the middle: what was in force stays, and what was promised is there."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

from engine.constraints import ExecutionConstraints
from engine.errors import EngineError, FaultError
from gateway.config import Config
from gateway.errors import SandboxError, StoreError
from gateway.events import EventType
from gateway.identity import Principal
from gateway.registry.placement import Placement
from gateway.registry.registry import Registry, RegistryParts
from gateway.rules import load_rules
from gateway.sandbox.fleet import Fleet
from gateway.sandbox.pool import PRELOAD, PooledSandbox
from gateway.sandbox.routing import Duty
from gateway.store.store import Store
from gateway.workers.supervisor import Zygote
from tests.hook_folders import ACME, files_of, importing, publisher
from tests.payload_keys import MASTERS
from tests.subjects import known, pseudonym
from tests.unit.gateway.store.store_worlds import TickingClock

ADMIN = known(Principal(subject="root", tenant="default", roles=("admin",)))
ANYWHERE = Placement(labels={})
PLENTY = ExecutionConstraints(wall_ms_max=1_000, fuel_max=10_000_000, memory_bytes_max=1_048_576)

RENAMED = """
    DROP TRIGGER hooks_immutable;
    UPDATE hooks SET version = '1.2.0';
    UPDATE hook_activations SET version = '1.2.0';
"""


class Log:
    """An audit log that fails where a test says so."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, Any]] = []
        self.fails = False
        self.size = 0

    def append(self, event_type: str, *, actor: str, target: str, details: Any) -> int:
        assert actor == pseudonym("default", "root")
        if self.fails:
            raise FaultError("the disk is gone", code="audit.unavailable")
        self.events.append((event_type, target, details))
        return len(self.events) - 1

    async def durable(self, seq: int) -> None:
        assert seq < len(self.events)


@dataclass
class Ground:
    registry: Registry
    store: Store
    log: Log
    fleet: Fleet
    path: Path

    async def says(self) -> bytes | None:
        """Return what the step kind `resize` answers now, None where there is none."""
        hooks = self.registry.current
        if "resize" not in hooks.kinds:
            return None
        return (await hooks.sandbox.run(hooks.kinds["resize"].hook.key, b"{}", PLENTY)).output


@asynccontextmanager
async def registry_on(path: Path, zygote: Zygote) -> AsyncIterator[Ground]:
    """Open a registry on the store at `path`, as a start of the gateway does."""
    rules = load_rules(None, Config())
    store = Store.open(path, clock=TickingClock(), masters=MASTERS)
    fleet, log = Fleet(zygote, dict.fromkeys(get_args(Duty), 1)), Log()
    registry = Registry(
        RegistryParts(
            store=store.hooks,
            audit=log,
            fleet=fleet,
            base=(),
            publishers=[publisher(ACME)],
            compose=rules.compose,
        )
    )
    try:
        await registry.start()
        yield Ground(registry, store, log, fleet, path)
    finally:
        await registry.close()
        await fleet.close()
        await store.close()


@pytest.fixture
async def zygote() -> AsyncIterator[Zygote]:
    zygote = await Zygote.start(PRELOAD)
    yield zygote
    await zygote.close()


@pytest.fixture
async def ground(tmp_path: Path, zygote: Zygote) -> AsyncIterator[Ground]:
    """Return a registry with two versions, the first of them in force."""
    async with registry_on(tmp_path / "s.db", zygote) as ground:
        for version in ("1.0.0", "1.1.0"):
            await ground.registry.publish(ADMIN, files_of(version=version))
        await ground.registry.enable(ADMIN, "resize", "1.0.0", ANYWHERE)
        yield ground


async def failing(ground: Ground, kind: type[EngineError]) -> str:
    """Try to change what is in force; require that it fails and that everything is as before, and return the code."""
    before = ground.registry.current, ground.fleet.pids, await ground.says()
    with pytest.raises(kind) as caught:
        await ground.registry.enable(ADMIN, "resize", "1.1.0", ANYWHERE)
    assert (ground.registry.current, ground.fleet.pids, await ground.says()) == before
    return caught.value.code


async def test_workers_that_do_not_start_leave_the_old_set_in_force(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call fails, store and log say nothing of it, and the next try goes through."""
    with monkeypatch.context() as patch:

        async def refuse(_pool: PooledSandbox) -> None:
            raise SandboxError("no process", code="sandbox.unavailable")

        patch.setattr(PooledSandbox, "start", refuse)
        assert await failing(ground, SandboxError) == "sandbox.unavailable"
    assert [activation.version for activation in await ground.store.hooks.active()] == ["1.0.0"]
    assert ground.log.events[-1][0] == EventType.HOOK_ENABLED
    await ground.registry.enable(ADMIN, "resize", "1.1.0", ANYWHERE)
    assert b"1.1.0" in (await ground.says() or b"")


async def test_a_store_that_fails_leaves_the_old_set_in_force(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers that were started for it are ended again, and the log is not told."""
    events = len(ground.log.events)
    with monkeypatch.context() as patch:

        async def refuse(*_: object) -> None:
            raise StoreError("the disk is full", code="store.full")

        patch.setattr(ground.store.hooks, "activate", refuse)
        assert await failing(ground, StoreError) == "store.full"
    assert len(ground.log.events) == events


async def test_a_log_that_fails_leaves_the_old_set_in_force(ground: Ground) -> None:
    """Nothing is in force that the log does not have: the next start has the change, and says so before anything."""
    ground.log.fails = True
    assert await failing(ground, FaultError) == "audit.unavailable"


@pytest.mark.parametrize("action", ["disable", "rollback"])
async def test_the_other_changes_are_as_careful(ground: Ground, action: str) -> None:
    """Taking a hook out of force fails as a whole, too."""
    await ground.registry.enable(ADMIN, "resize", "1.1.0", ANYWHERE)
    ground.log.fails = True
    before = ground.registry.current
    with pytest.raises(FaultError):
        await getattr(ground.registry, action)(ADMIN, "resize")
    assert ground.registry.current is before
    assert b"1.1.0" in (await ground.says() or b"")


async def test_a_call_that_is_cancelled_is_done_or_not_but_never_half(ground: Ground) -> None:
    """Who hangs up in the middle of a change has set it going: it is whole a moment later."""
    call = asyncio.create_task(ground.registry.enable(ADMIN, "resize", "1.1.0", ANYWHERE))
    await asyncio.sleep(0.01)
    call.cancel()
    await asyncio.wait([call])
    await ground.registry.close()
    assert b"1.1.0" in (await ground.says() or b"")
    assert [activation.version for activation in await ground.store.hooks.active()] == ["1.1.0"]
    assert ground.log.events[-1][2]["version"] == "1.1.0"


async def test_a_crash_between_publishing_and_enabling_loses_nothing(tmp_path: Path, zygote: Zygote) -> None:
    """What is published is there after a start, and not in force; publishing it again changes nothing."""
    async with registry_on(tmp_path / "s.db", zygote) as ground:
        await ground.registry.publish(ADMIN, files_of())
    async with registry_on(tmp_path / "s.db", zygote) as ground:
        assert await ground.says() is None
        assert not (await ground.registry.publish(ADMIN, files_of())).created
        await ground.registry.enable(ADMIN, "resize", "1.0.0", ANYWHERE)
        assert b"1.0.0" in (await ground.says() or b"")


async def test_a_crash_after_the_store_has_a_change_starts_with_the_change(tmp_path: Path, zygote: Zygote) -> None:
    """The log did not get it, so nobody was told; the next start's own event names what is in force."""
    async with registry_on(tmp_path / "s.db", zygote) as ground:
        await ground.registry.publish(ADMIN, files_of())
        ground.log.fails = True
        with pytest.raises(FaultError):
            await ground.registry.enable(ADMIN, "resize", "1.0.0", ANYWHERE)
        assert await ground.says() is None
    async with registry_on(tmp_path / "s.db", zygote) as ground:
        assert b"1.0.0" in (await ground.says() or b"")
        assert list(ground.registry.pins()) == ["resize"]


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("UPDATE hook_modules SET bytes = CAST(bytes || x'00' AS BLOB)", "hook.signature_module"),
        ("DROP TRIGGER hooks_immutable; UPDATE hooks SET schema = x'7b7d'", "hook.signature_schema"),
        ("DROP TRIGGER hooks_immutable; UPDATE hooks SET signature = x'00'", "hook.signature_malformed"),
        (RENAMED, "hook.damaged"),
    ],
    ids=["module", "schema", "signature", "version"],
)
async def test_a_hook_that_was_changed_on_the_disk_stops_the_start(
    tmp_path: Path, zygote: Zygote, damage: str, code: str
) -> None:
    """What the store holds is verified as if a stranger had sent it."""
    async with registry_on(tmp_path / "s.db", zygote) as ground:
        await ground.registry.publish(ADMIN, files_of())
        await ground.registry.enable(ADMIN, "resize", "1.0.0", ANYWHERE)
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.executescript(damage)
    connection.close()
    with pytest.raises(EngineError) as caught:
        async with registry_on(tmp_path / "s.db", zygote):
            pass
    assert caught.value.code == code


async def test_a_module_that_may_not_run_is_not_published(ground: Ground) -> None:
    """The jail refuses it, the log has the refusal, and the store has nothing."""
    with pytest.raises(EngineError) as caught:
        await ground.registry.publish(ADMIN, files_of(version="3.0.0", module=importing()))
    assert caught.value.code == "hook.import"
    event, target, details = ground.log.events[-1]
    assert (event, target, details["code"]) == (EventType.HOOK_PUBLISH_REFUSED, "resize@3.0.0", "hook.import")
    assert [record.version for record in await ground.store.hooks.list()] == ["1.1.0", "1.0.0"]


async def test_a_module_is_retired_only_when_nothing_new_can_begin_with_it(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mission that is admitted while a change is under way may use the old module: a replay of it must find it.

    Its settings are kept as well. A change that fails retires nothing.
    """

    def retired() -> dict[bytes, bool]:
        with sqlite3.connect(ground.path) as connection:
            rows = connection.execute("SELECT bytes, retired_at IS NOT NULL FROM hook_modules").fetchall()
        connection.close()
        return {bytes(data): bool(gone) for data, gone in rows}

    [old] = [hook.module for hook in ground.registry.hooks]
    adopt, seen = ground.fleet.adopt, []

    def adopting(formation: Any) -> Any:
        seen.append(retired()[old])
        return adopt(formation)

    monkeypatch.setattr(ground.fleet, "adopt", adopting)
    ground.log.fails = True
    assert await failing(ground, FaultError) == "audit.unavailable"
    assert (retired()[old], retired()[b"{}"]) == (False, False)
    ground.log.fails = False
    await ground.registry.rollback(ADMIN, "resize")
    await ground.registry.enable(ADMIN, "resize", "1.1.0", ANYWHERE)
    assert (seen[-1], retired()[old], retired()[b"{}"]) == (False, True, False)
