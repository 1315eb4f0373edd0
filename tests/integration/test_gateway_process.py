"""The gateway as a program: it cannot start, it is stopped, it is killed, its disk is full."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from secrets import randbelow
from typing import Any

import orjson
import pytest

from gateway.assembly import AUDIT_FOLDER, KEY_FILE
from gateway.client import CallError
from gateway.home import NewHome
from tests.gateways import Program, add_hook, calling, events_of, new_home, serve_fails, verified
from tests.worlds import laws_hold, mission

KILLS = 4


def step(step_id: str, *depends_on: str, kind: str = "transform", **parameters: Any) -> dict[str, Any]:
    return {
        "id": step_id,
        "name": step_id,
        "step_type": kind,
        "depends_on": list(depends_on),
        "parameters": parameters,
    }


ACTING = orjson.dumps(
    mission(
        step("write", kind="create_file", path="out/a.txt", content="a"),
        step("read", "write", kind="read_file", path="out/a.txt"),
        step("wait", "read", kind="delay", ms=30),
        step("again", "wait", kind="create_file", path="out/b.txt", content="${steps.read.output.content}"),
    )
)


class Submitting(threading.Thread):
    """Submits until the gateway is gone, and notes what it was told."""

    def __init__(self, program: Program, name: str) -> None:
        super().__init__(name=name)
        self.acknowledged: dict[str, str] = {}  # mission id → request id
        self.ended: set[str] = set()
        self._program = program

    def run(self) -> None:
        with calling(self._program.address, self._program.made) as client, contextlib.suppress(CallError):
            for n in range(10_000):
                request_id = f"{self.name}-{n}"
                mission_id = client.submit(ACTING, request_id)["mission_id"]
                self.acknowledged[mission_id] = request_id
                if n % 2:
                    for event in client.watch(mission_id):
                        if event["kind"] == "mission.completed":
                            self.ended.add(mission_id)


def check_after_kill(program: Program, callers: list[Submitting], moment: str) -> None:
    """Assert that everything that callers were told is there, and that nothing is unfinished."""
    acknowledged = {mission_id: request for caller in callers for mission_id, request in caller.acknowledged.items()}
    ended = set().union(*(caller.ended for caller in callers))
    interrupted = set(program.facts["interrupted"])
    assert not ended & interrupted, moment
    with calling(program.address, program.made) as client:
        for mission_id, request_id in acknowledged.items():
            view = client.get(mission_id)
            if mission_id in interrupted:
                assert view["state"] == "Failed", moment
                check_interrupted(view, list(client.watch(mission_id)), moment)
            else:
                assert view["state"] == "Completed", (moment, view)
            again = client.submit(ACTING, request_id)
            assert (again["mission_id"], again["created"]) == (mission_id, False), moment


def check_interrupted(view: dict[str, Any], events: list[dict[str, Any]], moment: str) -> None:
    """Assert that the result is whole: each step has one, told once, and the last event is the mission's end."""
    result = view["result"]
    assert result["error"]["code"] == "interrupted", moment
    counts = Counter(each["status"] for each in result["step_results"].values())
    told = (result["steps_completed"], result["steps_failed"], result["steps_skipped"])
    assert told == (counts["Completed"], counts["Failed"], counts["Skipped"]), (moment, result)
    assert sum(told) == len(result["step_results"]) == view["steps_total"] == 4, (moment, result)
    assert result["total_duration_ms"] > 0, moment
    assert result["audit_summary"] == {"events_logged": 0, "integrity_verified": True}, moment  # 0: not counted
    unfinished = [each for each in result["step_results"].values() if each["status"] != "Completed"]
    assert all(each["error"]["code"] == "interrupted" for each in unfinished), (moment, unfinished)
    assert [event["index"] for event in events] == list(range(len(events))), moment
    assert events[-1]["kind"] == "mission.failed", (moment, events)
    assert events[-1]["details"]["error"]["code"] == "interrupted", (moment, events)
    ended = [event for event in events if event["step_id"] and event["kind"] != "step.executing"]
    assert {event["step_id"]: event["details"]["status"] for event in ended} == {
        step_id: each["status"] for step_id, each in result["step_results"].items()
    }, (moment, events)
    assert len(ended) == view["steps_total"], (moment, events)


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Killed again and again in the middle of missions with effects: log and store agree, and are complete.

    After each restart on the same home every acknowledged mission is there, unfinished ones are `interrupted`, an end
    that a caller had heard of stands, and an effect that was done has its intent in a log that verifies.
    """
    made = new_home(tmp_path)
    acknowledged: set[str] = set()
    interrupted: set[str] = set()
    program = Program.start(made)
    for kill in range(KILLS):
        callers = [Submitting(program, f"k{kill}c{n}") for n in range(4)]
        for caller in callers:
            caller.start()
        milliseconds = 100 + randbelow(600)
        time.sleep(milliseconds / 1000)
        program.kill()
        for caller in callers:
            caller.join()
            acknowledged |= set(caller.acknowledged)
        verified(made)
        program = Program.start(made)
        interrupted |= set(program.facts["interrupted"])
        check_after_kill(program, callers, f"killed after {milliseconds} ms")
    assert program.terminate() == 0
    verified(made)
    events = events_of(made)
    laws_hold(events, killed=True)
    assert acknowledged <= {event.target for event in events if event.event_type == "mission.admitted"}
    assert len(acknowledged) > KILLS
    assert interrupted & acknowledged  # else nothing was said of them
    intended = {event.target for event in events if event.event_type == "effect.intended"}
    for file in (made.home / "workspaces").glob("*/out/*.txt"):
        step_id = {"a.txt": "write", "b.txt": "again"}[file.name]
        assert f"{file.parent.parent.name}/{step_id}" in intended
        assert file.read_text() == "a"


def test_sigterm_drains_and_exits_0(tmp_path: Path) -> None:
    """What runs may end, what would take too long is cancelled, the log ends with `gateway.stopped` and verifies."""
    made = new_home(tmp_path)
    program = Program.start(made)
    with calling(program.address, made) as client:
        quick = client.submit(orjson.dumps(mission(step("wait", kind="delay", ms=500))), "quick")["mission_id"]
    assert program.terminate() == 0
    events = events_of(made)
    assert events[-1].event_type == "gateway.stopped"
    [ended] = [event for event in events if event.event_type == "mission.ended"]
    assert (ended.target, ended.details["status"]) == (quick, "Success")
    laws_hold(events)
    verified(made)


def foreign_import(made: NewHome) -> None:
    add_hook(made, "leaky", foreign='(import "env" "open" (func))')


def wrong_pin(made: NewHome) -> None:
    add_hook(made, "swapped", sha256="0" * 64)


def policy_syntax(made: NewHome) -> None:
    path = made.home / "policies" / "gateway" / "step" / "step.rego"
    path.write_text(path.read_text() + "\nallow if {\n")


def garbled_key(made: NewHome) -> None:
    (made.home / KEY_FILE).write_bytes(b"\x00\xffnot a key")


def open_key(made: NewHome) -> None:
    (made.home / KEY_FILE).chmod(0o644)


def no_key(made: NewHome) -> None:
    (made.home / KEY_FILE).unlink()


def no_audit_directory(made: NewHome) -> None:
    (made.home / AUDIT_FOLDER).write_text("a file stands where the log should be")


def garbled_store(made: NewHome) -> None:
    (made.home / "missions.db").write_bytes(b"this is no database" * 100)


@pytest.mark.parametrize(
    ("spoil", "code", "exit_code", "says"),
    [
        (foreign_import, "hook.", 2, "import"),
        (wrong_pin, "hook.pin_mismatch", 2, "pinned"),
        (policy_syntax, "policy.", 2, "step.rego"),
        (garbled_key, "key.unreadable", 2, "log.key"),
        (open_key, "key.unreadable", 2, "log.key"),
        (no_key, "key.unreadable", 2, "log.key"),
        (no_audit_directory, "audit.unavailable", 4, "audit"),
        (garbled_store, "store.", 4, ""),
    ],
)
def test_a_gateway_that_cannot_start_says_why(
    tmp_path: Path, spoil: Callable[[NewHome], None], code: str, exit_code: int, says: str
) -> None:
    """A typed error, its exit code, and one line that names what is wrong; never a trace."""
    made = new_home(tmp_path)
    spoil(made)
    returned, errors, text = serve_fails(made)
    assert errors[0]["code"].startswith(code), errors
    assert returned == exit_code, errors
    assert says in errors[0]["message"], errors
    assert len(errors) == 1
    told = [line for line in text.splitlines() if errors[0]["code"] in line]
    assert len(told) == 1, text


def test_a_second_gateway_on_one_home_is_refused(tmp_path: Path) -> None:
    """Two writers would tear the log; the one that serves is not disturbed."""
    made = new_home(tmp_path)
    program = Program.start(made)
    returned, errors, _ = serve_fails(made)
    assert (returned, errors[0]["code"]) == (4, "audit.locked")
    assert program.terminate() == 0
    verified(made)


def test_a_full_disk_stops_the_work_and_says_so(tmp_path: Path) -> None:
    """Nothing is acknowledged that could not be recorded; what was before the disk was full still verifies."""
    made = new_home(tmp_path)
    program = Program.start(made)
    with calling(program.address, made) as client:
        client.submit(ACTING, "before")
        [segment] = (made.home / AUDIT_FOLDER / "segments").iterdir()
        program.file_bytes_max(segment.stat().st_size + 100)
        codes = set()
        for n in range(3):
            with pytest.raises(CallError) as refused:
                client.submit(ACTING, f"after-{n}")
            assert refused.value.status.name == "UNAVAILABLE"
            codes.add(refused.value.errors[0]["code"])
        assert all(code.startswith(("audit.", "store.")) for code in codes), codes
    program.kill()
    verified(made)
    admitted = [event for event in events_of(made) if event.event_type == "mission.admitted"]
    assert [event.details["request_id"] for event in admitted] == ["before"]
    restarted = Program.start(made)
    with calling(restarted.address, made) as client:
        assert client.submit(ACTING, "now")["created"]
    assert restarted.terminate() == 0
    verified(made)


def test_a_gateway_takes_its_workers_with_it(tmp_path: Path) -> None:
    """After kill -9 no process of it is left."""
    made = new_home(tmp_path)
    program = Program.start(made)
    family = descendants(program.process.pid)
    assert len(family) >= 4  # the zygote, two sandbox workers, a policy worker
    program.kill()
    deadline = time.monotonic() + 5
    while family & living() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not family & living()


def descendants(pid: int) -> set[int]:
    """Return the processes that a process has started, and theirs."""
    parents = {child: int(stat_of(child)[1]) for child in living()}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def living() -> set[int]:
    """Return every process that has not ended."""
    pids = {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    return {pid for pid in pids if stat_of(pid)[0] != "Z"}


def stat_of(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name; one that is gone counts as ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return ["Z", "0"]
