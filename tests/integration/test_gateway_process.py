"""The gateway as a program: it cannot start, it is stopped, it is killed, its disk is full."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.errors import EngineError
from gateway.cli.output import errors_document, exit_of
from gateway.client import CallError
from gateway.folders import AUDIT_FOLDER
from gateway.home import NewHome
from gateway.signing.signers import KEY_FILE
from tests.gateways import (
    Program,
    add_hook,
    calling,
    events_of,
    new_home,
    serve_fails,
    serve_fails_in_words,
    serving,
    verified,
)
from tests.subjects import commitments_in
from tests.worlds import laws_hold, mission


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


def test_sigterm_drains_and_exits_0(tmp_path: Path) -> None:
    """Steps at work may end, and their missions with them; the log ends with `gateway.stopped` and verifies."""
    made = new_home(tmp_path)
    add_hook(made, "busy", iterations=200_000_000)
    program = Program.start(made)
    with calling(program.address, made) as client:
        quick = client.submit(orjson.dumps(mission(step("work", kind="busy"))), "quick").mission_id
        next(event for event in client.watch(quick) if event.kind == "step.executing")
    assert program.terminate() == 0
    events = events_of(made)
    assert events[-1].event_type == "gateway.stopped"
    [ended] = [event for event in events if event.event_type == "mission.ended"]
    assert (ended.target, ended.details["status"]) == (quick, "Success")
    laws_hold(events)


def test_what_only_waits_goes_on_after_the_next_start(tmp_path: Path) -> None:
    """A stop does not wait for it, and the next start goes on with it, from where it was."""
    made = new_home(tmp_path)
    program = Program.start(made)
    form = mission(step("before"), step("wait", "before", kind="delay", ms=2_000), step("after", "wait"))
    form["steps"][0]["parameters"] = {"input": 1}
    with calling(program.address, made) as client:
        waiting = client.submit(orjson.dumps(form), "waiting").mission_id
        seen = [next(event for event in client.watch(waiting) if event.step_id == "wait")]
    assert program.terminate() == 0
    program = Program.start(made)
    assert program.facts["resumed"] == [waiting]
    with calling(program.address, made) as client:
        seen += list(client.watch(waiting, seen[-1].index + 1))
        assert client.wait(waiting).succeeded
    assert program.terminate() == 0
    indices = [event.index for event in seen]
    assert indices == list(range(indices[0], indices[0] + len(indices)))
    assert [event.target for event in events_of(made) if event.event_type == "mission.suspended"] == [waiting]
    laws_hold(events_of(made))


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
async def test_a_gateway_that_cannot_start_says_why(
    tmp_path: Path, spoil: Callable[[NewHome], None], code: str, exit_code: int, says: str
) -> None:
    """A typed error, its exit code, and a message that names what is wrong."""
    made = new_home(tmp_path)
    spoil(made)
    with pytest.raises(EngineError) as caught:
        async with serving(made):
            raise AssertionError("it serves")
    assert caught.value.code.startswith(code)
    assert exit_of(caught.value) == exit_code
    [error] = errors_document(caught.value)
    assert says in str(error["message"])


def test_a_gateway_that_cannot_start_tells_people_in_one_line(tmp_path: Path) -> None:
    """With the same code, exit code and place as it tells programs; never a trace."""
    made = new_home(tmp_path)
    policy_syntax(made)
    returned, errors = serve_fails(made)
    assert (returned, [error["field"] for error in errors]) == (2, ["gateway/step/step.rego"])
    returned, text = serve_fails_in_words(made)
    [told] = [line for line in text.splitlines() if errors[0]["code"] in line]
    assert (returned, "step.rego" in told) == (2, True), text


def test_a_second_gateway_on_one_home_is_refused(tmp_path: Path) -> None:
    """Two writers would tear the log; the one that serves is not disturbed."""
    made = new_home(tmp_path)
    program = Program.start(made)
    returned, errors = serve_fails(made)
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
    assert [event.details["request_id"] for event in admitted] == [
        commitments_in(made.home, admitted[0].target).of("before")
    ]
    restarted = Program.start(made)
    with calling(restarted.address, made) as client:
        assert client.submit(ACTING, "now").created
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
