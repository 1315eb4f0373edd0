"""Fail the n-th call, pull the plug at the n-th, kill the process at any moment: what decides is what was said last."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.bundles.entry import Entry, Mark, archive_digest
from gateway.bundles.history import HISTORY_NAME, History
from gateway.bundles.history_file import State
from gateway.errors import StoreError
from tests.bundle_worlds import START
from tests.disks import LOSSES, FailingFiles, Loss, UnpluggedFiles

ROOT = Path(__file__).parents[2]
ROUNDS = 3


def step(history: History, n: int) -> None:
    """Keep a bundle, put it in force, and every third time go back."""
    archive = b"archive %d " % n * 100
    entry = Entry(
        digest=f"sha256:{n:064x}",
        revision=f"r{n}",
        sequence=n,
        origin="published",
        by="default/ann",
        at=START,
        signed_by="k1",
        archive=archive_digest(archive),
        archive_bytes=len(archive),
    )
    history.keep(entry, archive)
    history.activate(entry.digest, pinned=True, mark=Mark(sequence=n, digest=entry.digest))
    history.confirm(START)
    if n % 3 == 0:
        history.roll_back()


def assert_reopens(folder: Path, allowed: list[State]) -> State:
    """Open on a sound disk: the state is one that may be, and every archive that it names is whole."""
    history = History.open(folder, kept_max=3, files=FailingFiles())
    assert history.state in allowed
    for entry in history.state.entries:
        assert history.archive(entry)
    assert len(list((folder / "bundles").iterdir())) == len(history.state.entries)
    step(history, 1_000)
    assert History.open(folder, kept_max=3, files=FailingFiles()).state == history.state
    return history.state


def states(folder: Path) -> list[State]:
    """Return every state that the steps go through, from none on."""
    seen = [State()]

    class Watching(FailingFiles):
        def replace(self, source: Path, target: Path) -> None:
            super().replace(source, target)
            if target.name == HISTORY_NAME:
                copy = folder.parent / "copy"
                shutil.copytree(folder, copy)
                seen.append(History.open(copy, kept_max=3, files=FailingFiles()).state)
                shutil.rmtree(copy)

    history = History.open(folder, kept_max=3, files=Watching())
    for n in range(1, ROUNDS + 1):
        step(history, n)
    return seen


def calls(folder: Path) -> int:
    files = FailingFiles()
    history = History.open(folder, kept_max=3, files=files)
    for n in range(1, ROUNDS + 1):
        step(history, n)
    return files.calls


def used(folder: Path, files: FailingFiles) -> State:
    """Go through the steps until the disk fails; return the last state that was said to hold."""
    said = State()
    with suppress(StoreError):
        history = History.open(folder, kept_max=3, files=files)
        for n in range(1, ROUNDS + 1):
            said = history.state
            step(history, n)
        said = history.state
    return said


def test_a_call_that_fails_leaves_a_state_that_was(tmp_path: Path) -> None:
    """Each of all calls once: what opens afterwards is what was, or what was about to be."""
    every = states(tmp_path / "all")
    total = calls(tmp_path / "count")
    assert total > 20
    for n in range(total):
        folder = tmp_path / f"fail{n}"
        said = used(folder, FailingFiles(n))
        at = every.index(said)
        assert_reopens(folder, every[at : at + 4])  # a step has at most three changes: all that it had done may stand


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("names_last", [True, False])
def test_a_power_cut_leaves_a_state_that_was(tmp_path: Path, loss: Loss, *, names_last: bool) -> None:
    """At each call, whatever the disk had not synced is lost: nothing that was said to hold is."""
    every = states(tmp_path / "all")
    for n in range(calls(tmp_path / "count") + 1):
        folder = tmp_path / f"cut{n}"
        files = UnpluggedFiles(n, loss, names_last=names_last)
        said = used(folder, files)
        files.pull_the_plug()
        if folder.exists():
            at = every.index(said)
            assert_reopens(folder, every[at : at + 4])


WORKLOAD = """
import sys
from pathlib import Path
from gateway.bundles.history import History
from tests.faults.test_bundle_history_faults import step
history = History.open(Path(sys.argv[1]), kept_max=3)
for n in range(int(sys.argv[2]), int(sys.argv[2]) + 10_000):
    step(history, n)
    print(n, history.state.active, flush=True)
"""


def test_what_was_said_is_there_after_kill_9(tmp_path: Path) -> None:
    """Eight times: run, kill -9 at some moment, open again. What was put in force last is, or what came next."""
    folder = tmp_path / "policy"
    code = WORKLOAD.replace("from tests.faults.test_bundle_history_faults import step", f"exec({_step_source()!r})")
    for run in range(8):
        first = 3 * 10_000 * run + 1  # so that n % 3 goes on as it began
        command = [sys.executable, "-c", code, str(folder), str(first)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:  # noqa: TID251 - a test kills it
            assert process.stdout is not None
            head = process.stdout.readline()
            time.sleep(0.011 * run)
            os.kill(process.pid, signal.SIGKILL)
            lines = (head + process.stdout.read()).split(b"\n")[:-1]
        n, active = lines[-1].decode().split()
        history = History.open(folder, kept_max=3)
        assert history.state.active in {active, f"sha256:{int(n) + 1:064x}"}  # going back leads to the former
        assert all(history.archive(entry) for entry in history.state.entries)


def _step_source() -> str:
    """Return the text of `step` with what it needs, for another process: the tests are no package."""
    text = Path(__file__).read_text()
    body = text[text.index("def step(") : text.index("def assert_reopens(")]
    imports = "from gateway.bundles.entry import Entry, Mark, archive_digest\nfrom tests.bundle_worlds import START\n"
    return imports + "from gateway.bundles.history import History\n" + body
