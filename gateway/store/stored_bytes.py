"""The migration that lets the database count what is kept of each principal's missions, in bytes.

It counts in the transaction that changes what is kept, so that no way to erase or prune can forget to, and a crash
loses nothing of it. Events and results alone are counted by who writes them, many at a time (`gateway.store.writes`): a
trigger for each doubles what they cost. A payload counts with its length as it is sealed and 128 bytes for its row, a
mission with 1,024. Files are beside the database: `files_bytes` is what a mission that does not run has left of them.
The view `mission_bytes` counts anew, for who wants to compare.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

STORED_BYTES: Final = """
ALTER TABLE missions ADD COLUMN files_bytes INTEGER NOT NULL DEFAULT 0 CHECK (files_bytes >= 0);
CREATE TABLE stored_bytes (
    tenant TEXT NOT NULL,
    submitter TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (tenant, submitter)
) STRICT, WITHOUT ROWID;
CREATE VIEW mission_bytes AS SELECT id, tenant, submitter, 1024 + files_bytes
    + (SELECT coalesce(sum(128 + length(document)), 0) FROM mission_documents WHERE mission_id = missions.id)
    + (SELECT coalesce(sum(128 + length(output) + coalesce(length(error_message), 0)), 0) FROM step_results
        WHERE mission_id = missions.id)
    + (SELECT coalesce(sum(128 + length(body)), 0) FROM mission_events WHERE mission_id = missions.id)
    + (SELECT coalesce(sum(128 + coalesce(length(entry), 0)), 0) FROM effects WHERE mission_id = missions.id)
    + (SELECT coalesce(sum(128 + coalesce(length(message), 0) + coalesce(length(comment), 0)), 0) FROM approvals
        WHERE mission_id = missions.id) AS bytes
    FROM missions;
INSERT INTO stored_bytes SELECT tenant, submitter, sum(bytes) FROM mission_bytes GROUP BY tenant, submitter;

CREATE TRIGGER missions_counted AFTER INSERT ON missions BEGIN
    INSERT INTO stored_bytes VALUES (new.tenant, new.submitter, 1024 + new.files_bytes)
        ON CONFLICT (tenant, submitter) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER missions_uncounted AFTER DELETE ON missions BEGIN
    UPDATE stored_bytes SET bytes = bytes - 1024 - old.files_bytes
        WHERE tenant = old.tenant AND submitter = old.submitter;
    DELETE FROM stored_bytes WHERE tenant = old.tenant AND submitter = old.submitter AND bytes = 0;
END;
CREATE TRIGGER missions_files AFTER UPDATE OF files_bytes ON missions WHEN new.files_bytes <> old.files_bytes BEGIN
    UPDATE stored_bytes SET bytes = bytes + new.files_bytes - old.files_bytes
        WHERE tenant = new.tenant AND submitter = new.submitter;
END;
CREATE TRIGGER missions_renamed AFTER UPDATE OF submitter ON missions WHEN new.submitter <> old.submitter BEGIN
    INSERT INTO stored_bytes SELECT tenant, submitter, bytes FROM mission_bytes WHERE id = new.id
        ON CONFLICT (tenant, submitter) DO UPDATE SET bytes = bytes + excluded.bytes;
    UPDATE stored_bytes SET bytes = bytes - (SELECT bytes FROM mission_bytes WHERE id = new.id)
        WHERE tenant = old.tenant AND submitter = old.submitter;
    DELETE FROM stored_bytes WHERE tenant = old.tenant AND submitter = old.submitter AND bytes = 0;
END;

CREATE TRIGGER documents_counted AFTER INSERT ON mission_documents BEGIN
    UPDATE stored_bytes SET bytes = bytes + 128 + length(new.document)
        WHERE (tenant, submitter) = (SELECT tenant, submitter FROM missions WHERE id = new.mission_id);
END;
CREATE TRIGGER documents_uncounted AFTER DELETE ON mission_documents BEGIN
    UPDATE stored_bytes SET bytes = bytes - 128 - length(old.document)
        WHERE (tenant, submitter) = (SELECT tenant, submitter FROM missions WHERE id = old.mission_id);
END;
CREATE TRIGGER results_uncounted AFTER DELETE ON step_results BEGIN
    UPDATE stored_bytes SET bytes = bytes - 128 - length(old.output) - coalesce(length(old.error_message), 0)
        WHERE (tenant, submitter) = (SELECT tenant, submitter FROM missions WHERE id = old.mission_id);
END;
CREATE TRIGGER events_uncounted AFTER DELETE ON mission_events BEGIN
    UPDATE stored_bytes SET bytes = bytes - 128 - length(old.body)
        WHERE (tenant, submitter) = (SELECT tenant, submitter FROM missions WHERE id = old.mission_id);
END;
CREATE TRIGGER effects_counted AFTER INSERT ON effects BEGIN
    UPDATE stored_bytes SET bytes = bytes + 128 + coalesce(length(new.entry), 0)
        WHERE (tenant, submitter) = (SELECT tenant, submitter FROM missions WHERE id = new.mission_id);
END;
CREATE TRIGGER effects_recounted AFTER UPDATE OF entry ON effects BEGIN
    UPDATE stored_bytes SET bytes = bytes + coalesce(length(new.entry), 0) - coalesce(length(old.entry), 0)
        WHERE (tenant, submitter) = (SELECT tenant, submitter FROM missions WHERE id = new.mission_id);
END;
CREATE TRIGGER effects_uncounted AFTER DELETE ON effects BEGIN
    UPDATE stored_bytes SET bytes = bytes - 128 - coalesce(length(old.entry), 0)
        WHERE (tenant, submitter) = (SELECT tenant, submitter FROM missions WHERE id = old.mission_id);
END;
CREATE TRIGGER approvals_counted AFTER INSERT ON approvals BEGIN
    UPDATE stored_bytes SET bytes = bytes + 128 + coalesce(length(new.message), 0) + coalesce(length(new.comment), 0)
        WHERE (tenant, submitter) = (SELECT tenant, submitter FROM missions WHERE id = new.mission_id);
END;
CREATE TRIGGER approvals_recounted AFTER UPDATE OF message, comment ON approvals BEGIN
    UPDATE stored_bytes SET bytes = bytes + coalesce(length(new.message), 0) + coalesce(length(new.comment), 0)
        - coalesce(length(old.message), 0) - coalesce(length(old.comment), 0)
        WHERE (tenant, submitter) = (SELECT tenant, submitter FROM missions WHERE id = new.mission_id);
END;
CREATE TRIGGER approvals_uncounted AFTER DELETE ON approvals BEGIN
    UPDATE stored_bytes SET bytes = bytes - 128 - coalesce(length(old.message), 0) - coalesce(length(old.comment), 0)
        WHERE (tenant, submitter) = (SELECT tenant, submitter FROM missions WHERE id = old.mission_id);
END;
"""


ROW_BYTES: Final = 128  # as above


def count_rows(connection: sqlite3.Connection, mission_id: str, lengths: Sequence[int]) -> None:
    """Count new rows of events or results, whose payloads are as long as that."""
    connection.execute(
        "UPDATE stored_bytes SET bytes = bytes + ?"
        " WHERE (tenant, submitter) = (SELECT tenant, submitter FROM missions WHERE id = ?)",
        (sum(lengths) + ROW_BYTES * len(lengths), mission_id),
    )
