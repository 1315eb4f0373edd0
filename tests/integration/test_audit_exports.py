"""A gateway that exports its log: what happened is in the SIEM's file, to the last event, and tied to the log."""

from pathlib import Path
from typing import Any

import orjson

from gateway.config import CONFIG_NAME
from gateway.folders import AUDIT_FOLDER
from tests.audit_logs import lines
from tests.gateways import change_policy_data, new_home, serving, submitted, verified
from tests.ocsf_schema import breaches
from tests.worlds import mission

EXPORTS = """
[audit]
archive = "archive"

[[audit.exports]]
name = "all"
file = "all.ndjson"
raw = true

[[audit.exports]]
name = "denials"
file = "denials.ndjson"
include = ["effect.refused"]
"""


def keep_a_day(config: dict[str, Any]) -> None:
    config["retention"]["log_days"] = 1


def told(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


async def test_a_gateway_tells_everything_that_it_records(tmp_path: Path) -> None:
    """Also the event of its own stop; each object holds to the schema and has the line; the log verifies beside it."""
    made = new_home(tmp_path)
    with (made.home / CONFIG_NAME).open("a") as config:
        config.write(EXPORTS)
    change_policy_data(made, keep_a_day)
    async with serving(made) as gateway:
        call = {"id": "c", "name": "c", "step_type": "http", "parameters": {"url": "https://example.com/"}}
        await submitted(gateway, made, mission(call))
    events = told(made.home / "all.ndjson")
    assert [event["raw_data"].encode() for event in events] == lines(made.home / AUDIT_FOLDER)
    assert [problem for event in events for problem in breaches(event)] == []
    assert events[-1]["metadata"]["event_code"] == "gateway.stopped"
    [denial] = told(made.home / "denials.ndjson")
    assert (denial["class_uid"], denial["status_code"]) == (6003, "effect.host_closed")
    assert denial["api"]["operation"] == "http.request"
    verified(made)
