"""The command line on a real terminal: the live table, the question before a decision, and what is kept from it."""

import base64
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeDesk, approval, ended, event, step_result, view
from tests.rpc_server import served_aside

ID = "0b9ad7a4-6f0e-4a53-9d3a-2f6f7a0b1c2d"
ROOT = Path(__file__).resolve().parents[2]
SECONDS_MAX = 30
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # what rich itself sends: colours, cursor up, erase, show and hide


@dataclass
class Terminal:
    """A command on a pseudo terminal."""

    process: Any  # subprocess.Popen
    master: int
    seen: str = ""

    def until(self, text: str) -> str:
        """Return all that was written, once `text` is in it."""
        until = time.monotonic() + SECONDS_MAX
        while text not in self.seen and time.monotonic() < until and self._read():
            pass
        assert text in self.seen, self.seen
        return self.seen

    def ended(self) -> tuple[int, str]:
        """Return the exit code and all that was written."""
        until = time.monotonic() + SECONDS_MAX
        while time.monotonic() < until and self._read():
            pass
        return self.process.wait(SECONDS_MAX), self.seen

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def _read(self) -> bool:
        if not select.select([self.master], [], [], SECONDS_MAX)[0]:
            return False
        try:
            raw = os.read(self.master, 65_536)
        except OSError:  # the other side is closed
            return False
        self.seen += raw.decode()
        return bool(raw)


@dataclass
class Console:
    """Starts commands on terminals of a size."""

    address: str
    opened: list[Terminal]

    def run(self, *args: str, width: int = 80, height: int = 24) -> Terminal:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        env = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
        env |= {
            "MISSIONGATE_SERVER": self.address,
            "MISSIONGATE_TOKEN": "ann-token",
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": "utf-8",
            "TERM": "xterm-256color",
        }
        process = subprocess.Popen(  # noqa: TID251 - the command under test
            [sys.executable, "-m", "gateway", *args], stdin=slave, stdout=slave, stderr=slave, env=env
        )
        os.close(slave)
        self.opened.append(Terminal(process, master))
        return self.opened[-1]


@pytest.fixture
def desk() -> FakeDesk:
    steps = [{"id": each, "step_type": "transform"} for each in ("fetch", "each", "release")]
    running = view(ID, steps_total=3, name="report \x1b[2J[red]", mission={"steps": steps})
    return FakeDesk(missions={ID: running}, idle=True)


@pytest.fixture
def console(desk: FakeDesk) -> Iterator[Console]:
    with served_aside(desk) as address:
        out = Console(address, [])
        yield out
        for terminal in out.opened:
            terminal.process.kill()
            terminal.process.wait()
            os.close(terminal.master)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_watch_on_a_terminal_is_a_table(desk: FakeDesk, console: Console, width: int) -> None:
    """Steps with state, fan-out progress and the command that approves; no line is wider than the terminal."""
    desk.events = [
        event(0, "mission.executing", ""),
        event(1, "step.executing", "each"),
        *(event(2 + item, "step.item", "each", item=item, total=100, status="Completed") for item in range(37)),
        event(39, "step.waiting", "release", **{"for": "approval"}, approval_id="a-1", message="Publish \x1b]0;x?"),
    ]
    seen = console.run("watch", ID, width=width).until("release asks:")
    assert "37/100" in seen
    assert "0/3" in seen
    assert all(len(line) <= width for line in re.split(r"[\r\n]+", _CONTROL.sub("", seen)))
    assert all(c.isprintable() for c in _CONTROL.sub("", seen) if c not in "\r\n")


def test_the_end_of_a_mission_ends_the_table(desk: FakeDesk, console: Console) -> None:
    """The cursor is back, the result is printed as `get` prints it, and the exit code says how it went."""
    desk.idle = False
    desk.events = [event(0, "mission.executing", ""), event(1, "mission.failed", "", status="Failed")]
    failure = {"code": "step.x", "message": "broken"}
    desk.missions[ID] = ended(ID, step_result("fetch", "Failed", output=None, error=failure), status="Failed")
    code, seen = console.run("watch", ID).ended()
    assert code == 1
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h")
    assert f"missiongate retry {ID}" in seen


def test_ctrl_c_gives_the_cursor_back(desk: FakeDesk, console: Console) -> None:
    """And ends the watching with 130, without a traceback."""
    desk.events = [event(0, "step.executing", "fetch")]
    terminal = console.run("watch", ID)
    terminal.until("Executing")
    terminal.process.send_signal(signal.SIGINT)
    code, seen = terminal.ended()
    assert code == 130
    assert "Traceback" not in seen
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h")


@pytest.mark.parametrize(("key", "code", "state"), [("y", 0, "approved"), ("n", 1, "pending"), ("", 1, "pending")])
def test_a_decision_is_asked_for(desk: FakeDesk, console: Console, key: str, code: int, state: str) -> None:
    """On a terminal, after what is decided was shown; anything but a yes decides nothing."""
    desk.approvals = [approval(mission_id=ID)]
    terminal = console.run("approve", ID)
    assert "│ " in terminal.until("Approve it?")
    terminal.type(f"{key}\n")
    assert terminal.ended()[0] == code
    assert desk.approvals[0].state == state


def test_bytes_are_kept_from_the_terminal(desk: FakeDesk, console: Console) -> None:
    """A binary output is refused with what to do instead; text has its control characters escaped."""
    output = {"$bytes": base64.b64encode(b"\x1b[2J").decode()}
    desk.missions[ID] = ended(ID, step_result("chart", output=output), step_result("text", output="a\u009b\u202eb"))
    code, seen = console.run("get", ID, "--step", "chart", "--format", "binary").ended()
    assert (code, "--output-file" in seen, "\x1b[2J" in seen) == (2, True, False)
    code, seen = console.run("get", ID, "--step", "text").ended()
    assert (code, seen) == (0, '"a\\u009b\\u202eb"\r\n')


def test_a_plan_breaks_its_lines_between_words(console: Console, tmp_path: Path) -> None:
    """What there is to say of a step stays in a column of its own, at the width of the terminal."""
    document = tmp_path / "m.yaml"
    retry = "{max_attempts: 5, backoff: exponential, base_ms: 200, jitter: true}"
    step = f"{{id: fetch, name: F, step_type: transform, idempotent: true, retry: {retry}, parameters: {{}}}}"
    document.write_text(f'version: "1.0"\nname: m\nsteps:\n- {step}\n')
    code, seen = console.run("plan", str(document), width=60).ended()
    lines = [line.rstrip() for line in _CONTROL.sub("", seen).splitlines()]
    at = lines.index("         fetch  tried 5 times, exponential from 200 ms with")
    assert (code, lines[at + 1]) == (0, "                jitter · idempotent")
