"""Logs of the gateway's own events for tests, written in one go."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from engine.audit.record import seal
from engine.values import JsonObject
from tests.audit_logs import SIGNER, START, signed

Event = tuple[str, str, str, JsonObject]  # type, actor, target, details


def lines_of(events: Iterable[Event], *, before: Sequence[bytes] = (), seed: str = "") -> list[bytes]:
    """Return the lines of events, a second apart, after those of `before`; `seed` makes ids and hashes others."""
    made: list[bytes] = []
    previous = before[-1][-66:-2].decode() if before else "0" * 64
    for seq, (event_type, actor, target, details) in enumerate(events, len(before)):
        line, previous = seal(
            seq=seq,
            event_id=hashlib.sha256(f"{seed}{seq}".encode()).hexdigest()[:32],
            timestamp=(START + timedelta(seconds=seq)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            event_type=event_type,
            actor=actor,
            target=target,
            details=details,
            previous_hash=previous,
        )
        made.append(line)
    return made


def put_log(directory: Path, lines: Sequence[bytes], *, starts: Sequence[int] = (), pruned: int = 0) -> Path:
    """Write a log of these lines: segments begin at 0 and at `starts`; those before seq `pruned` are left out."""
    folder = directory / "segments"
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    bounds = [0, *starts, len(lines)]
    for first, last in pairwise(bounds):
        if first >= pruned:
            content = b"".join(line + b"\n" for line in lines[first:last])
            (folder / f"{first:020d}.jsonl").write_bytes(content)
    (directory / "checkpoint").write_bytes(signed(list(lines), SIGNER))
    return directory


def admitted(mission: str, tenant: str = "red", actor: str = "red/ann") -> Event:
    """Return the first event of a mission."""
    return "mission.admitted", actor, mission, {"tenant": tenant, "steps": 2, "decision_id": f"d-{mission}"}


def story() -> list[Event]:
    """Return events of two tenants and of the gateway: a mission that ends well, one that is refused a step."""

    def details(**more: Any) -> JsonObject:
        return more

    no = [{"code": "step.path_closed", "message": "it is closed", "rule": "r"}]
    return [
        ("audit.opened", "audit", "example.com/gateway", details(format=2)),
        ("gateway.started", "gateway", "gateway", details(bundle="sha256:" + "ab" * 32)),
        admitted("m1"),
        ("step.allowed", "red/ann", "m1/a", details(kind="transform", decision_id="d-1")),
        ("step.ended", "red/ann", "m1/a", details(status="Completed")),
        admitted("m2", "blue", "blue/bob"),
        ("step.refused", "blue/bob", "m2/x[3]", details(kind="create_file", reasons=no, decision_id="d-2")),
        ("effect.performed", "red/ann", "m1/b", details(op="file.write")),
        ("approval.decided", "red/eve", "m1/b", details(state="approved")),
        ("mission.ended", "red/ann", "m1", details(status="Success", completed=2)),
        ("mission.ended", "blue/bob", "m2", details(status="Failed", failed=1)),
        ("rpc.denied", "blue/bob", "S/GetMission", details(mission_id="m1", tenant="blue", reasons=no)),
        ("audit.read", "red/eve", "S/QueryEvents", details(tenant="red", filter={}, first=0, end=9)),
        ("mission.pruned", "gateway", "missions", details(missions=["m1", "m2"], mission_days=90)),
    ]
