"""Published hooks in the store: versions that never change, which of them is active, and modules for replay.

Of a name's activations those that were not rolled back are a stack: the newest holds, rolling back takes it off.
"""

import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import orjson

from engine.clock import rfc3339
from gateway.errors import ConflictError, HookRefusedError, NotFoundError, OverloadedError
from gateway.store.hook_records import (
    Activation,
    HookRecord,
    NewActivation,
    NewHook,
    Publication,
    StoredHook,
)
from gateway.store.records import moment_of

HOOKS_MAX: Final = 1_000  # published versions of all names
VERSIONS_MAX: Final = 100  # of one name
MODULES_BYTES_MAX: Final = 512 * 1024 * 1024  # of all modules that are kept
ACTIVATIONS_MAX: Final = 100  # of one name that are remembered

_RECORD: Final = "name, version, kind, publisher, sha256, published_at, published_by, tenant"
_STACK: Final = "SELECT * FROM hook_activations WHERE name = ? AND undone_at IS NULL ORDER BY seq DESC LIMIT ?"


def publish(connection: sqlite3.Connection, hook: NewHook, now: datetime) -> Publication:
    """Insert a version, or return the one that is the same; see `HookStore.publish`."""
    known = _stored(connection, hook.name, hook.version)
    if known is not None:
        _check_tenant(hook, known.record.tenant)
        same = (known.manifest, known.module, known.schema) == (hook.manifest, hook.module, hook.schema)
        if not same or known.record.publisher != hook.publisher:
            message = f"{hook.name} {hook.version} is published already, and is another hook: a version never changes"
            raise ConflictError(message, code="hook.version_exists")
        return Publication(record=known.record, created=False)
    _check_owner(connection, hook)
    _check_room(connection, hook)
    connection.execute(
        "INSERT INTO hook_modules (sha256, bytes) VALUES (?, ?) ON CONFLICT (sha256) DO NOTHING",
        (hook.sha256, hook.module),
    )
    row = connection.execute(
        "INSERT INTO hooks (name, version, kind, publisher, sha256, manifest, schema, signature, published_at,"
        " published_by, tenant) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
        (
            hook.name,
            hook.version,
            hook.kind,
            hook.publisher,
            hook.sha256,
            hook.manifest,
            hook.schema,
            hook.signature,
            rfc3339(now),
            hook.published_by,
            hook.tenant,
        ),
    ).fetchall()[0]
    return Publication(record=_record_of(row), created=True)


def _check_owner(connection: sqlite3.Connection, hook: NewHook) -> None:
    """A name belongs to who published it first: nobody's next version is somebody else's module, or another kind."""
    row = connection.execute(
        "SELECT publisher, kind, tenant FROM hooks WHERE name = ? ORDER BY seq LIMIT 1", (hook.name,)
    ).fetchone()
    if row is None:
        return
    _check_tenant(hook, row["tenant"])
    if row["publisher"] != hook.publisher:
        message = f"name: {hook.name} is a hook of {row['publisher']}"
        raise HookRefusedError(message, code="hook.name_taken", field="name")
    if row["kind"] != hook.kind:
        message = f"kind: {hook.name} is a {row['kind']}; another kind needs another name"
        raise HookRefusedError(message, code="hook.kind_changed", field="kind")


def _check_tenant(hook: NewHook, tenant: str) -> None:
    """A name is the tenant's whose people published it first; others learn that it is taken, and not by whom."""
    if tenant not in {"", hook.tenant}:
        raise HookRefusedError(f"name: {hook.name} is taken", code="hook.name_taken", field="name")


def _check_room(connection: sqlite3.Connection, hook: NewHook) -> None:
    (total,) = connection.execute("SELECT count(*) FROM hooks").fetchone()
    (versions,) = connection.execute("SELECT count(*) FROM hooks WHERE name = ?", (hook.name,)).fetchone()
    (size,) = connection.execute("SELECT coalesce(sum(length(bytes)), 0) FROM hook_modules").fetchone()
    if versions >= VERSIONS_MAX:
        raise OverloadedError(f"{hook.name} has {VERSIONS_MAX} versions already", code="hook.too_many_versions")
    if total >= HOOKS_MAX:
        raise OverloadedError(f"the registry has {HOOKS_MAX} versions already", code="hook.registry_full")
    if size + len(hook.module) > MODULES_BYTES_MAX:
        raise OverloadedError(f"modules may have {MODULES_BYTES_MAX} bytes together", code="hook.registry_full")


def stored_hook(connection: sqlite3.Connection, name: str, version: str) -> StoredHook:
    """Return a version with its files, or raise NotFoundError."""
    found = _stored(connection, name, version)
    if found is None:
        raise NotFoundError(f"there is no hook {name} {version}", code="hook.not_found")
    return found


def _stored(connection: sqlite3.Connection, name: str, version: str) -> StoredHook | None:
    row = connection.execute(
        "SELECT hooks.*, hook_modules.bytes AS module FROM hooks JOIN hook_modules USING (sha256)"
        " WHERE name = ? AND version = ?",
        (name, version),
    ).fetchone()
    if row is None:
        return None
    return StoredHook(
        record=_record_of(row),
        manifest=bytes(row["manifest"]),
        module=bytes(row["module"]),
        schema=None if row["schema"] is None else bytes(row["schema"]),
        signature=bytes(row["signature"]),
    )


def list_hooks(connection: sqlite3.Connection, name: str | None) -> tuple[HookRecord, ...]:
    """Return the published versions, of one name or of all, by name, newest publication first: HOOKS_MAX at most."""
    rows = connection.execute(
        f"SELECT {_RECORD} FROM hooks WHERE ?1 IS NULL OR name = ?1 ORDER BY name, seq DESC",  # noqa: S608 - our text
        (name,),
    )
    return tuple(_record_of(row) for row in rows)


def active(connection: sqlite3.Connection) -> tuple[Activation, ...]:
    """Return what holds for each name that is enabled, by name."""
    rows = connection.execute(
        "SELECT * FROM hook_activations WHERE version IS NOT NULL AND seq IN"
        " (SELECT max(seq) FROM hook_activations WHERE undone_at IS NULL GROUP BY name) ORDER BY name"
    )
    return tuple(_activation_of(row) for row in rows)


def history(connection: sqlite3.Connection, name: str) -> tuple[Activation, ...]:
    """Return the activations of a name, newest first, those that were rolled back too."""
    rows = connection.execute(
        "SELECT * FROM hook_activations WHERE name = ? ORDER BY seq DESC LIMIT ?", (name, ACTIVATIONS_MAX)
    )
    return tuple(_activation_of(row) for row in rows)


def before(connection: sqlite3.Connection, name: str) -> tuple[Activation, Activation]:
    """Return what holds for a name, and what held before and would hold again.

    Raises:
        ConflictError: `hook.nothing_before`.
    """
    rows = connection.execute(_STACK, (name, 2)).fetchall()
    if len(rows) < 2:  # noqa: PLR2004 - the two
        message = f"nothing was in force for {name} before; disabling it is another act"
        raise ConflictError(message, code="hook.nothing_before")
    return _activation_of(rows[0]), _activation_of(rows[1])


def activate(connection: sqlite3.Connection, new: NewActivation, now: datetime) -> Activation:
    """Put an activation on top, and forget those that nobody can roll back to any more."""
    row = connection.execute(
        "INSERT INTO hook_activations (name, version, run_order, step_types, labels, activated_at, activated_by)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
        (
            new.name,
            new.version,
            new.order,
            orjson.dumps(new.step_types).decode(),
            orjson.dumps(dict(new.labels), option=orjson.OPT_SORT_KEYS).decode(),
            rfc3339(now),
            new.by,
        ),
    ).fetchall()[0]
    connection.execute(
        "DELETE FROM hook_activations WHERE name = ?1 AND seq NOT IN"
        " (SELECT seq FROM hook_activations WHERE name = ?1 ORDER BY seq DESC LIMIT ?2)"
        " AND seq NOT IN (SELECT seq FROM hook_activations WHERE name = ?1 AND undone_at IS NULL"
        " ORDER BY seq DESC LIMIT 2)",
        (new.name, ACTIVATIONS_MAX),
    )
    return _activation_of(row)


def undo(connection: sqlite3.Connection, seq: int, by: str, now: datetime) -> None:
    """Take an activation off the stack.

    Raises:
        ConflictError: `hook.changed`, it is not on top any more.
    """
    done = connection.execute(
        "UPDATE hook_activations AS a SET undone_at = ?, undone_by = ? WHERE seq = ? AND undone_at IS NULL AND seq ="
        " (SELECT max(seq) FROM hook_activations AS b WHERE b.name = a.name AND b.undone_at IS NULL)",
        (rfc3339(now), by, seq),
    )
    if not done.rowcount:
        raise ConflictError("it was changed meanwhile", code="hook.changed")


def use_modules(connection: sqlite3.Connection, modules: Mapping[str, bytes], now: datetime) -> None:
    """Record which modules are in force; forget those that are published nowhere and that no mission can have used.

    A mission may have used what was in force at any time of its life, so a module stays while there is a mission that
    was created before the module was retired.
    """
    for sha256, data in modules.items():
        connection.execute(
            "INSERT INTO hook_modules (sha256, bytes) VALUES (?, ?) ON CONFLICT (sha256) DO UPDATE"
            " SET retired_at = NULL WHERE retired_at IS NOT NULL",  # else each start would write every module anew
            (sha256, data),
        )
    names = orjson.dumps(list(modules)).decode()
    connection.execute(
        "UPDATE hook_modules SET retired_at = ? WHERE retired_at IS NULL"
        " AND sha256 NOT IN (SELECT value FROM json_each(?))",
        (rfc3339(now), names),
    )
    connection.execute(
        "DELETE FROM hook_modules WHERE retired_at IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM hooks WHERE hooks.sha256 = hook_modules.sha256)"
        " AND NOT EXISTS (SELECT 1 FROM missions WHERE created_at <= retired_at)"
    )


def module(connection: sqlite3.Connection, sha256: str) -> bytes:
    """Return a module, or raise NotFoundError."""
    row = connection.execute("SELECT bytes FROM hook_modules WHERE sha256 = ?", (sha256,)).fetchone()
    if row is None:
        raise NotFoundError("there is no such module", code="hook.module_not_found")
    return bytes(row["bytes"])


def _record_of(row: sqlite3.Row) -> HookRecord:
    return HookRecord(
        name=row["name"],
        version=row["version"],
        kind=row["kind"],
        publisher=row["publisher"],
        sha256=row["sha256"],
        published_at=datetime.fromisoformat(row["published_at"]),
        published_by=row["published_by"],
        tenant=row["tenant"],
    )


def _activation_of(row: sqlite3.Row) -> Activation:
    return Activation(
        seq=row["seq"],
        name=row["name"],
        version=row["version"],
        order=row["run_order"],
        step_types=tuple(orjson.loads(row["step_types"])),
        labels=orjson.loads(row["labels"]),
        at=datetime.fromisoformat(row["activated_at"]),
        by=row["activated_by"],
        undone_at=moment_of(row["undone_at"]),
        undone_by=row["undone_by"],
    )
