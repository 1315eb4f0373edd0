"""The tables, as the list of migrations that made them; `PRAGMA user_version` counts those that were applied."""

import sqlite3
from typing import Final

from gateway.errors import StoreError
from gateway.store.stored_bytes import STORED_BYTES

APPLICATION_ID: Final = 0x4D47_4154  # "MGAT": a database of another program is not migrated by accident

_MISSIONS: Final = """
CREATE TABLE missions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, -- order of admission; never told to a client, it counts other tenants too
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    submitter TEXT NOT NULL,
    request_id TEXT,
    request_digest TEXT NOT NULL,
    mission_digest TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('Validated', 'Executing', 'Completed', 'Failed', 'Cancelled')),
    overall_status TEXT CHECK (overall_status IN ('Success', 'Partial', 'Failed')),
    created_at TEXT NOT NULL, -- RFC 3339, UTC, microseconds
    started_at TEXT,
    ended_at TEXT,
    total_duration_ms REAL,
    steps_total INTEGER NOT NULL,
    steps_completed INTEGER NOT NULL DEFAULT 0,
    steps_failed INTEGER NOT NULL DEFAULT 0,
    steps_skipped INTEGER NOT NULL DEFAULT 0,
    error_code TEXT,
    error_message TEXT,
    audit_summary BLOB, -- JSON
    CHECK ((ended_at IS NULL) = (state IN ('Validated', 'Executing'))),
    CHECK ((error_code IS NULL) = (error_message IS NULL))
) STRICT;
CREATE UNIQUE INDEX missions_request ON missions (tenant, submitter, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX missions_by_tenant ON missions (tenant, seq);
CREATE INDEX missions_by_state ON missions (tenant, state, seq);
CREATE INDEX missions_unfinished ON missions (seq) WHERE ended_at IS NULL;

CREATE TABLE mission_documents (
    mission_id TEXT PRIMARY KEY REFERENCES missions (id),
    document BLOB NOT NULL -- canonical JSON
) STRICT;

CREATE TABLE step_results (
    seq INTEGER PRIMARY KEY, -- order of arrival
    mission_id TEXT NOT NULL REFERENCES missions (id),
    step_id TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('Completed', 'Failed', 'Skipped')),
    output BLOB NOT NULL, -- JSON
    error_code TEXT,
    error_message TEXT,
    duration_ms REAL NOT NULL,
    timestamp TEXT NOT NULL,
    UNIQUE (mission_id, step_id)
) STRICT;

CREATE TABLE mission_events (
    mission_id TEXT NOT NULL REFERENCES missions (id),
    idx INTEGER NOT NULL CHECK (idx >= 0),
    body BLOB NOT NULL, -- JSON
    PRIMARY KEY (mission_id, idx)
) STRICT, WITHOUT ROWID;
"""

# Trees of missions, approvals, and the journal of effects. The order matters: a new CHECK holds for the rows that are
# there, so each stands behind what makes it true.
_DURABILITY: Final = """
ALTER TABLE missions ADD COLUMN run INTEGER NOT NULL DEFAULT 1 CHECK (run >= 1);
ALTER TABLE missions ADD COLUMN roles TEXT NOT NULL DEFAULT '[]'; -- of the submitter, at submission; JSON list
ALTER TABLE missions ADD COLUMN anonymous INTEGER NOT NULL DEFAULT 0 CHECK (anonymous IN (0, 1));
ALTER TABLE missions ADD COLUMN taint TEXT NOT NULL DEFAULT '[]'; -- what came in by the step that runs it; JSON list
ALTER TABLE missions ADD COLUMN paused INTEGER NOT NULL DEFAULT 0
    CHECK (paused = 0 OR (paused = 1 AND ended_at IS NULL));
ALTER TABLE missions ADD COLUMN parent_id TEXT REFERENCES missions (id);
ALTER TABLE missions ADD COLUMN root_id TEXT NOT NULL DEFAULT ''; -- its own id where it is no part of another
UPDATE missions SET root_id = id;
ALTER TABLE missions ADD COLUMN depth INTEGER NOT NULL DEFAULT 0
    CHECK ((depth = 0) = (parent_id IS NULL) AND (depth = 0) = (root_id = id));
-- 1: what is left of a mission that is being deleted. Nobody sees it, and nothing makes it whole again.
ALTER TABLE missions ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0
    CHECK (pruned = 0 OR (pruned = 1 AND ended_at IS NOT NULL AND request_id IS NULL));
CREATE INDEX missions_by_parent ON missions (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX missions_by_root ON missions (root_id);
CREATE INDEX missions_by_end ON missions (ended_at, seq) WHERE parent_id IS NULL AND ended_at IS NOT NULL;
CREATE INDEX missions_pruned ON missions (seq) WHERE pruned = 1;

ALTER TABLE step_results ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0);

CREATE TABLE approvals (
    seq INTEGER PRIMARY KEY, -- order of the requests
    id TEXT NOT NULL UNIQUE,
    mission_id TEXT NOT NULL REFERENCES missions (id),
    step_id TEXT NOT NULL,
    item INTEGER CHECK (item >= 0), -- of a fan-out
    digest TEXT NOT NULL,
    bundle TEXT NOT NULL,
    message TEXT NOT NULL,
    approvers TEXT NOT NULL, -- roles; JSON list
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'expired', 'withdrawn')),
    requested_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    decided_at TEXT,
    decided_by TEXT,
    comment TEXT NOT NULL,
    effect_key TEXT NOT NULL UNIQUE,
    CHECK ((decided_at IS NULL) = (state = 'pending')),
    CHECK ((decided_by IS NULL) = (state IN ('pending', 'expired', 'withdrawn'))) -- nobody's yes is none
) STRICT;
CREATE INDEX approvals_by_mission ON approvals (mission_id, seq);
CREATE INDEX approvals_pending ON approvals (seq) WHERE state = 'pending';

CREATE TABLE effects (
    mission_id TEXT NOT NULL REFERENCES missions (id),
    step_id TEXT NOT NULL,
    item INTEGER NOT NULL CHECK (item >= -1), -- of a fan-out; -1: the step is none
    idx INTEGER NOT NULL CHECK (idx >= 0),
    key TEXT NOT NULL,
    op TEXT NOT NULL,
    now TEXT NOT NULL,
    seed TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('intended', 'performed', 'failed', 'in_doubt')),
    entry BLOB, -- JSON
    CHECK ((entry IS NULL) = (state IN ('intended', 'in_doubt'))),
    PRIMARY KEY (mission_id, step_id, item, idx)
) STRICT; -- with a rowid: an entry may be large
"""

# The registry of hooks. Nothing here refers to missions: a module stays for as long as one could have used it.
_HOOKS: Final = """
CREATE TABLE hook_modules (
    sha256 TEXT PRIMARY KEY CHECK (length(sha256) = 64),
    bytes BLOB NOT NULL,
    retired_at TEXT -- since when it is in no set in force; NULL while it is, or has not been yet
) STRICT;

CREATE TABLE hooks (
    seq INTEGER PRIMARY KEY, -- order of publication
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    kind TEXT NOT NULL,
    publisher TEXT NOT NULL,
    sha256 TEXT NOT NULL REFERENCES hook_modules (sha256),
    manifest BLOB NOT NULL, -- hook.toml
    schema BLOB,
    signature BLOB NOT NULL, -- hook.sig
    published_at TEXT NOT NULL,
    published_by TEXT NOT NULL,
    UNIQUE (name, version)
) STRICT;
CREATE INDEX hooks_by_module ON hooks (sha256);
-- What was published under a name and a version stays what it is.
CREATE TRIGGER hooks_immutable BEFORE UPDATE ON hooks BEGIN SELECT RAISE(ABORT, 'a version is immutable'); END;

CREATE TABLE hook_activations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    version TEXT, -- NULL: disabled
    run_order INTEGER NOT NULL,
    step_types TEXT NOT NULL, -- JSON list
    labels TEXT NOT NULL, -- JSON object
    activated_at TEXT NOT NULL,
    activated_by TEXT NOT NULL,
    undone_at TEXT, -- rolled back: what was before holds again
    undone_by TEXT,
    CHECK ((undone_at IS NULL) = (undone_by IS NULL)),
    FOREIGN KEY (name, version) REFERENCES hooks (name, version)
) STRICT;
CREATE INDEX hook_activations_by_name ON hook_activations (name, seq) WHERE undone_at IS NULL;
"""

# What decisions of policy ask of the host: approvals that policy wants, and labels.
_OBLIGATIONS: Final = """
ALTER TABLE approvals ADD COLUMN entrypoint TEXT NOT NULL DEFAULT '' -- of the decision that wants it; '': a step asks
    CHECK (entrypoint IN ('', 'mission', 'step', 'effect'));
ALTER TABLE approvals ADD COLUMN decided_roles TEXT NOT NULL DEFAULT '[]'; -- of who decided, as they were; JSON list
ALTER TABLE missions ADD COLUMN decision_labels TEXT NOT NULL DEFAULT '{}'; -- JSON object
"""

# Payloads are sealed under a key of their mission (gateway.store.sealing). What was there in the clear is sealed too,
# by the functions of gateway.store.conversion; where a column gives up its text for a BLOB, the old one is overwritten.
_SEALING: Final = """
CREATE TABLE mission_keys (
    mission_id TEXT PRIMARY KEY, -- '': the store's own
    kek INTEGER NOT NULL, -- the number of the master key that wraps it
    wrapped BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO mission_keys VALUES ('', payload_kek(), payload_key(''));
INSERT INTO mission_keys SELECT id, payload_kek(), payload_key(id) FROM missions;

ALTER TABLE missions ADD COLUMN head BLOB; -- sealed JSON: name, request id, digests of the request and of the mission
ALTER TABLE missions ADD COLUMN ending BLOB; -- sealed: the text of the error; error_message is empty where there is one
ALTER TABLE missions ADD COLUMN labels BLOB; -- sealed JSON object: of the decision under which it runs; NULL: none
UPDATE missions SET
    head = payload_sealed(id, wrapped, json_array(name, request_id, request_digest, mission_digest), 'missions.head'),
    ending = payload_sealed(id, wrapped, error_message, 'missions.ending'),
    labels = payload_sealed(id, wrapped, nullif(decision_labels, '{}'), 'missions.labels'),
    error_message = substr(error_message, 1, 0),
    request_id = payload_tag((SELECT wrapped FROM mission_keys WHERE mission_id = ''), tenant, submitter, request_id)
    FROM mission_keys WHERE mission_id = id;
ALTER TABLE missions DROP COLUMN name;
ALTER TABLE missions DROP COLUMN request_digest;
ALTER TABLE missions DROP COLUMN mission_digest;
ALTER TABLE missions DROP COLUMN decision_labels;
ALTER TABLE missions ADD COLUMN erasing BLOB -- sealed JSON, by whom and why, from the intent to the end of an erasure
    CHECK (erasing IS NULL OR ended_at IS NOT NULL);
ALTER TABLE missions ADD COLUMN erased_at TEXT
    CHECK ((erased_at IS NULL) = (head IS NOT NULL) AND (erased_at IS NULL OR ended_at IS NOT NULL));
CREATE INDEX missions_erasing ON missions (seq) WHERE erasing IS NOT NULL;

UPDATE mission_documents SET document = payload_sealed(k.mission_id, wrapped, document, 'mission_documents.document')
    FROM mission_keys AS k WHERE k.mission_id = mission_documents.mission_id;

ALTER TABLE step_results ADD COLUMN sealed BLOB;
UPDATE step_results SET
    output = payload_sealed(k.mission_id, wrapped, output, 'step_results.output', step_id),
    sealed = payload_sealed(k.mission_id, wrapped, error_message, 'step_results.error_message', step_id)
    FROM mission_keys AS k WHERE k.mission_id = step_results.mission_id;
ALTER TABLE step_results DROP COLUMN error_message;
ALTER TABLE step_results RENAME COLUMN sealed TO error_message;

UPDATE mission_events SET body = payload_sealed(k.mission_id, wrapped, body, 'mission_events.body', idx)
    FROM mission_keys AS k WHERE k.mission_id = mission_events.mission_id;

UPDATE effects SET entry = payload_sealed(k.mission_id, wrapped, entry, 'effects.entry', step_id, item, idx)
    FROM mission_keys AS k WHERE k.mission_id = effects.mission_id;

ALTER TABLE approvals ADD COLUMN asked BLOB;
ALTER TABLE approvals ADD COLUMN answered BLOB;
UPDATE approvals SET
    asked = payload_sealed(k.mission_id, wrapped, message, 'approvals.message', id),
    answered = payload_sealed(k.mission_id, wrapped, nullif(comment, ''), 'approvals.comment', id)
    FROM mission_keys AS k WHERE k.mission_id = approvals.mission_id;
ALTER TABLE approvals DROP COLUMN message;
ALTER TABLE approvals DROP COLUMN comment;
ALTER TABLE approvals RENAME COLUMN asked TO message;
ALTER TABLE approvals RENAME COLUMN answered TO comment; -- NULL: there is none
"""

# Who stands behind the pseudonyms of the audit log; a name is in the clear in no column.
_SUBJECTS: Final = """
CREATE TABLE subjects (
    pseudonym TEXT PRIMARY KEY,
    tag BLOB UNIQUE CHECK (length(tag) = 32), -- HMAC of tenant and subject; NULL: nobody is found by it any more
    sealed BLOB NOT NULL, -- tenant and subject
    key BLOB NOT NULL, -- of commitments, wrapped
    created_at TEXT NOT NULL,
    erasing TEXT, -- by whom, from the intent to the end of an erasure
    upto INTEGER, -- the seq of the last mission that there was then: what comes later is somebody else's
    reason TEXT,
    CHECK ((erasing IS NULL) = (upto IS NULL) AND (erasing IS NULL) = (reason IS NULL)),
    CHECK (tag IS NOT NULL OR erasing IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX subjects_erasing ON subjects (pseudonym) WHERE erasing IS NOT NULL;
"""

# Execution statistics. Kinds and codes are words of the gateway and of its hooks: the audit log has them in the clear.
# The index holds all that is counted, so that no row with an output, which may be large, is read for it.
_STATISTICS: Final = """
ALTER TABLE step_results ADD COLUMN step_type TEXT NOT NULL DEFAULT ''; -- '': of a gateway that did not keep it
ALTER TABLE step_results ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
UPDATE step_results SET tenant = (SELECT tenant FROM missions WHERE id = mission_id);
CREATE INDEX step_results_by_time ON step_results (tenant, timestamp, step_type, status, duration_ms, error_code);
CREATE INDEX missions_by_creation ON missions (tenant, created_at);
"""

# Whose people published a hook; '': nobody knows any more.
_HOOK_TENANTS: Final = "ALTER TABLE hooks ADD COLUMN tenant TEXT NOT NULL DEFAULT '';"

# Append only: a database in the field has run the earlier ones.
MIGRATIONS: Final[tuple[str, ...]] = (
    _MISSIONS,
    _DURABILITY,
    _HOOKS,
    _OBLIGATIONS,
    _SEALING,
    _SUBJECTS,
    _STATISTICS,
    _HOOK_TENANTS,
    STORED_BYTES,
)


def migrate(connection: sqlite3.Connection, migrations: tuple[str, ...] = MIGRATIONS) -> None:
    """Bring the database to the newest schema; each migration is one transaction, with its version.

    `gateway.store.conversion` has lent the connection its functions.

    Raises:
        StoreError: `store.schema_newer`, made by a newer gateway; `store.foreign`, made by another program.
        sqlite3.Error: a migration failed, and left nothing behind.
    """
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    fresh = version == 0 and tables == 0 and application_id == 0
    if application_id != APPLICATION_ID and not fresh:
        raise StoreError("this SQLite file is another program's", code="store.foreign")
    if version > len(migrations):
        raise StoreError(
            f"the store has schema {version}, and this gateway knows {len(migrations)}: use a newer gateway",
            code="store.schema_newer",
        )
    for number in range(version, len(migrations)):
        _apply(connection, migrations[number], number + 1)


def require_current(connection: sqlite3.Connection) -> None:
    """Return if the database is of the newest schema, for who may not change it.

    Raises:
        StoreError: `store.foreign`, `store.schema_newer`, `store.schema_older`.
    """
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application_id != APPLICATION_ID:
        raise StoreError("this SQLite file is another program's", code="store.foreign")
    if version != len(MIGRATIONS):
        newer = version > len(MIGRATIONS)
        message = f"the store has schema {version}, and this version knows {len(MIGRATIONS)}"
        raise StoreError(message, code="store.schema_newer" if newer else "store.schema_older")


def _apply(connection: sqlite3.Connection, script: str, version: int) -> None:
    """Run one migration as a whole. `executescript` stops at the first error, and the transaction is rolled back."""
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{script}\n"
            f"PRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {version};\nCOMMIT;"
        )
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
