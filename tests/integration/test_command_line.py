"""The command line as a process: what only a real process shows."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

COMMAND = (sys.executable, "-m", "gateway")
ROOT = Path(__file__).resolve().parents[2]
ENV = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("MISSIONGATE_", "LC_", "LANG"))},
    "PYTHONPATH": str(ROOT),
    "COLUMNS": "80",
}


def run(*args: str, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *args], input=stdin, capture_output=True, check=False, timeout=60, env={**ENV, **(env or {})}
    )


def mission(step_type: str, parameters: Mapping[str, object], name: str = "x") -> bytes:
    """Return a mission of one step."""
    step = {"id": "a", "name": "A", "step_type": step_type, "parameters": parameters}
    return json.dumps({"version": "1.0", "name": name, "steps": [step]}).encode()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("gateway") / "home"
    assert run("init", "--home", str(made)).returncode == 0
    return made


@pytest.fixture(scope="module")
def gateway(home: Path) -> Iterator[dict[str, str]]:
    """A served home, as the environment of a client of it; stopped at the end, which must be clean."""
    process = subprocess.Popen(  # noqa: TID251 - a gateway under test, not one of a gateway's workers
        [*COMMAND, "serve", "--home", str(home), "--listen", "127.0.0.1:0", "-o", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENV,
    )
    assert process.stdout is not None
    facts = json.loads(process.stdout.readline())
    token = (home / "keys/admin.token").read_text().strip()
    yield {"MISSIONGATE_SERVER": facts["address"], "MISSIONGATE_TOKEN": token}
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    process.stdout.close()
    verified = run("audit", "verify", str(home / "audit"), "--key", str(home / "keys/log.vkey"))
    assert verified.returncode == 0, verified.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_locale_stops_a_command(gateway: dict[str, str], encoding: str) -> None:
    """JSON is UTF-8 under any; for people, what the locale cannot spell is escaped."""
    env = {**gateway, "PYTHONIOENCODING": encoding}
    document = mission("transform", {}, name="отчёт ✓")
    done = run("submit", "-", "--watch", "--request-id", encoding, env=env, stdin=document)
    assert done.returncode == 0, done.stderr
    mission_id = done.stdout.decode(encoding).split()[1]
    view = run("get", mission_id, "-o", "json", env=env)
    assert json.loads(view.stdout.decode())["name"] == "отчёт ✓"
    assert run("get", "nope", env=env).returncode == 2


def test_a_reader_that_goes_ends_the_filter_quietly() -> None:
    """`missiongate sanitize path | head -1`: no traceback, no complaint."""
    writer = subprocess.Popen(  # noqa: TID251 - the command under test
        [*COMMAND, "sanitize", "path"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write(b'"a"\n')
    writer.stdin.flush()
    assert json.loads(writer.stdout.readline())["ok"] is True  # at once, without the input's end
    writer.stdout.close()
    _, complaint = writer.communicate(b'"b"\n' * 10_000)
    assert complaint == b""
    assert writer.returncode == 1


def test_an_interrupted_watch_is_130(gateway: dict[str, str]) -> None:
    """Ctrl-C ends the watching, not the mission, and without a traceback."""
    done = run("submit", "-", "-o", "json", env=gateway, stdin=mission("delay", {"ms": 60_000}))
    mission_id = json.loads(done.stdout)["mission_id"]
    with subprocess.Popen(  # noqa: TID251 - the command under test
        [*COMMAND, "watch", mission_id, "-o", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**ENV, **gateway},
    ) as watching:
        try:
            assert watching.stdout is not None
            watching.stdout.readline()
            watching.send_signal(signal.SIGINT)
            _, complaint = watching.communicate(timeout=10)
        finally:
            watching.kill()  # else a failure here is one of the tests that come after, too
    assert b"Traceback" not in complaint
    assert watching.returncode == 130
    cancelled = run("cancel", mission_id, "-o", "json", env=gateway)
    assert json.loads(cancelled.stdout)["state"] == "Cancelled"
    assert run("cancel", mission_id, env=gateway).returncode == 2


def test_bad_missions_leave_the_server_serving(gateway: dict[str, str]) -> None:
    """Malformed, a bomb, 5 MiB, a traversal: each its code, and the next good one runs."""
    bomb = b"a: &a [x,x]\n" + b"".join(b"b%d: &b%d [*a,*a]\n" % (i, i) for i in range(40))
    traversal = mission("read_file", {"path": "/etc/passwd"})
    for document, code in ((b"a: }", 2), (bomb, 2), (b"x" * (5 * 1024 * 1024), 3), (traversal, 3)):
        done = run("submit", "-", "-o", "json", env=gateway, stdin=document)
        assert done.returncode == code, done
        assert json.loads(done.stdout)["errors"][0]["code"]
    good = mission("transform", {})
    assert run("submit", "-", "--watch", env=gateway, stdin=good).returncode == 0


def test_a_second_gateway_on_a_home_is_refused(home: Path, gateway: dict[str, str]) -> None:
    """The log and the store have one writer."""
    del gateway
    done = run("serve", "--home", str(home), "--listen", "127.0.0.1:0")
    assert done.returncode == 4
    assert b"another process" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.timeout(40)
def test_no_gateway_is_told_in_bounded_time() -> None:
    """Exit 4 within seconds, in words that name the address."""
    done = run("list", "--server", "127.0.0.1:1")
    assert done.returncode == 4
    assert b"no gateway answers at 127.0.0.1:1" in done.stderr


def test_a_bug_is_one_line_and_4(tmp_path: Path) -> None:
    """What nobody foresaw is no traceback; MISSIONGATE_DEBUG=1 shows it to who wants to see."""
    broken = (
        "import gateway.cli.sanitize as s\ndef bug(*_): raise ValueError('un\\x1bforeseen')\ns.sanitize_lines = bug\n"
    )
    (tmp_path / "sitecustomize.py").write_text(broken)
    env = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = run("sanitize", "path", env=env, stdin=b'"a"\n')
    assert done.returncode == 4
    assert done.stderr.count(b"\n") == 2
    assert b"Traceback" not in done.stderr
    assert b"\x1b" not in done.stderr
    assert b"Traceback" in run("sanitize", "path", env={**env, "MISSIONGATE_DEBUG": "1"}, stdin=b'"a"\n').stderr
