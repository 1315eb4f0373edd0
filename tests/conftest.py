"""What holds for every test, whatever the machine is busy with, and however the tests were started."""

import gc
import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.depth import times
from tests.made_once import share

# Hypothesis looks at what happens, not at how long it takes. Its examples are others in each run.
settings.register_profile("untimed", deadline=None, max_examples=times(50, 100))
settings.load_profile("untimed")

# A shell starts what it puts into the background with Ctrl-C ignored. The commands under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Until the tests begin, everything is made and nothing thrown away: a collection would only walk it, again and again.
gc.disable()


def pytest_collection_finish() -> None:
    """Leave ten thousand tests and what they import out of later collections: one costs what its test has made."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _shared_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let the workers of one run share what they make; each has its own folder in that of the run."""
    own = tmp_path_factory.getbasetemp()
    share((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "made-once")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Collect no garbage while a failure is put into words.

    What a failed test leaves behind may be a task whose exception nobody took. Its end would write that to the log with
    a traceback, for which Python 3.11 parses source, in the middle of pytest's own parsing: "AST constructor recursion
    depth mismatch", and the run is over.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        return (yield)
    finally:
        if was_on:
            gc.enable()
