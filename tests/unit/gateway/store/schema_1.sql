-- A store as the gateway with schema 1 left it, dumped by sqlite3's iterdump: one mission that ended, one that waits,
-- one that runs.
BEGIN TRANSACTION;
CREATE TABLE mission_documents (
    mission_id TEXT PRIMARY KEY REFERENCES missions (id),
    document BLOB NOT NULL -- canonical JSON
) STRICT;
INSERT INTO "mission_documents" VALUES('m1',X'7B226E616D65223A2278222C227374657073223A5B7B226964223A2261227D2C7B226964223A2262227D5D7D');
INSERT INTO "mission_documents" VALUES('m2',X'7B226E616D65223A2278222C227374657073223A5B7B226964223A2261227D2C7B226964223A2262227D5D7D');
INSERT INTO "mission_documents" VALUES('m3',X'7B226E616D65223A2278222C227374657073223A5B7B226964223A2261227D2C7B226964223A2262227D5D7D');
CREATE TABLE mission_events (
    mission_id TEXT NOT NULL REFERENCES missions (id),
    idx INTEGER NOT NULL CHECK (idx >= 0),
    body BLOB NOT NULL, -- JSON
    PRIMARY KEY (mission_id, idx)
) STRICT, WITHOUT ROWID;
INSERT INTO "mission_events" VALUES('m1',0,X'7B22696E646578223A307D');
INSERT INTO "mission_events" VALUES('m1',1,X'7B22696E646578223A317D');
INSERT INTO "mission_events" VALUES('m3',0,X'7B22696E646578223A307D');
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
INSERT INTO "missions" VALUES(1,'m1','t','alice','r','sha256:r','sha256:m','mission 1','Failed','Partial','2026-01-31T12:00:01.000000Z','2026-01-31T12:00:02.000000Z','2026-01-31T12:00:09.000000Z',9000.0,2,1,1,0,'mission.timeout','too long',X'7B22696E746567726974795F7665726966696564223A747275657D');
INSERT INTO "missions" VALUES(2,'m2','u','alice',NULL,'sha256:r','sha256:m','mission 2','Validated',NULL,'2026-01-31T12:00:03.000000Z',NULL,NULL,NULL,2,0,0,0,NULL,NULL,NULL);
INSERT INTO "missions" VALUES(3,'m3','t','alice',NULL,'sha256:r','sha256:m','mission 3','Executing',NULL,'2026-01-31T12:00:04.000000Z','2026-01-31T12:00:05.000000Z',NULL,NULL,2,0,0,0,NULL,NULL,NULL);
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
INSERT INTO "step_results" VALUES(1,'m1','a','Completed',X'7B226E223A393030373139393235343734303939332C2274223A22C3BC227D',NULL,NULL,1.5,'2026-01-31T12:00:00.000000Z');
INSERT INTO "step_results" VALUES(2,'m1','b','Failed',X'6E756C6C','step.failed','no',1.5,'2026-01-31T12:00:00.000000Z');
INSERT INTO "step_results" VALUES(3,'m3','a','Completed',X'5B315D',NULL,NULL,1.5,'2026-01-31T12:00:00.000000Z');
CREATE UNIQUE INDEX missions_request ON missions (tenant, submitter, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX missions_by_tenant ON missions (tenant, seq);
CREATE INDEX missions_by_state ON missions (tenant, state, seq);
CREATE INDEX missions_unfinished ON missions (seq) WHERE ended_at IS NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('missions',3);
COMMIT;
PRAGMA application_id = 1296515412;
PRAGMA user_version = 1;
