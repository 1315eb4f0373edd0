"""An encrypted signing key and its rotation, with a gateway that serves."""

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from engine.audit.keyfile import KeyFile
from gateway.config import CONFIG_NAME
from gateway.home import make_home
from gateway.v1 import audit_pb2, audit_pb2_grpc
from tests.cli_runner import run
from tests.gateways import Program

ROOT = Path(__file__).resolve().parents[2]
PHRASE = "correct horse battery"
VARIABLE = "GATE_PHRASE"


def children(pid: int) -> list[int]:
    """Return the processes below `pid`."""
    found = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [below for each in found for below in children(each)]


def environment(pid: int) -> bytes:
    """Return the environment of a process; nothing where its memory is closed to us, who are its own user."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except PermissionError:
        return b""


def test_an_encrypted_key_signs_is_handed_on_and_signs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The passphrase comes from the environment and reaches no child; auditors are told both keys, the newest first."""
    made = make_home(tmp_path / "home", listen="127.0.0.1:0", passphrase=PHRASE.encode())
    with (made.home / CONFIG_NAME).open("a") as config:
        config.write(f'\n[audit]\npassphrase_env = "{VARIABLE}"\n')
    rotated = run("keys", "rotate", "--home", made.home, "-o", "json", env={VARIABLE: PHRASE}).json
    assert rotated["old"] == made.verifier_key
    monkeypatch.setenv(VARIABLE, PHRASE)
    program = Program.start(made)
    try:
        workers = children(program.process.pid)
        inherited = [pid for pid in workers if VARIABLE.encode() in environment(pid)]
        with grpc.insecure_channel(program.address) as channel:
            keys = audit_pb2_grpc.AuditServiceStub(channel).GetVerifierKeys(
                audit_pb2.GetVerifierKeysRequest(), metadata=(("authorization", f"Bearer {made.token}"),), timeout=30
            )
        locked = run("keys", "rotate", "--home", made.home, "-o", "json", env={VARIABLE: PHRASE})
    finally:
        code = program.terminate()
    assert workers
    assert inherited == []
    assert list(keys.verifier_keys) == [rotated["new"], made.verifier_key]
    assert program.facts["verifier_key"] == rotated["new"]
    assert (locked.code, locked.json["errors"][0]["code"]) == (4, "audit.locked")
    assert code == 0


def test_a_passphrase_is_typed_twice_at_a_terminal_and_not_shown(tmp_path: Path) -> None:
    """`keys new --encrypt` asks without echo; a session of its own keeps it from the terminal of whoever tests."""
    master, slave = pty.openpty()
    command = ["keys", "new", "example.com/key", "--out", str(tmp_path / "k"), "--encrypt"]
    process = subprocess.Popen(  # noqa: TID251 - the command under test
        [sys.executable, "-W", "ignore", "-m", "gateway", *command],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(slave)
    try:
        asked = b""
        for prompt in (b"k: ", b"again: "):  # what is typed before the question is thrown away
            while not asked.endswith(prompt) and select.select([process.stderr], [], [], 60)[0]:
                asked += os.read(process.stderr.fileno(), 4_096) or prompt
            os.write(master, f"{PHRASE}\n".encode())
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(master)
    assert process.returncode == 0, err
    assert PHRASE.encode() not in asked + out + err
    assert KeyFile.read(tmp_path / "k").signer(PHRASE.encode()).name == "example.com/key"
