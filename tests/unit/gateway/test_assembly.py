"""What a home must have before anything of it starts, and how a stop waits for what is at work."""

import asyncio
import shutil
from pathlib import Path

import pytest

from engine.errors import EngineError
from gateway import assembly
from gateway.config import CONFIG_NAME, load_config
from gateway.demo.scenario import prepare
from gateway.errors import HookRefusedError, PolicyInvalidError
from gateway.rules import local_admission


@pytest.fixture
def home(tmp_path: Path) -> Path:
    prepare(tmp_path / "home", service_port=1)
    return tmp_path / "home"


def refusal(home: Path) -> EngineError:
    """Return why a home is not accepted."""
    with pytest.raises(EngineError) as caught:
        local_admission(home, load_config(home))
    return caught.value


def test_a_home_that_holds_together_is_accepted(home: Path) -> None:
    """The demonstration's home, with hooks of its own."""
    assert local_admission(home, load_config(home))


def test_a_hook_that_is_refused_is_named(home: Path) -> None:
    """With many hooks, an operator learns which one is not what was pinned."""
    config = home / CONFIG_NAME
    head, pin, rest = config.read_text().rpartition('sha256 = "')
    config.write_text(head + pin + "0" * 64 + rest[64:])
    error = refusal(home)
    assert isinstance(error, HookRefusedError)
    assert (error.code, error.field) == ("hook.pin_mismatch", "hooks[1]")


def test_a_bundle_that_forgets_an_entry_point_is_refused(home: Path) -> None:
    """It would deny every step; that is said at start, with the entry point's name."""
    shutil.rmtree(home / "policies" / "gateway" / "step")
    error = refusal(home)
    assert isinstance(error, PolicyInvalidError)
    assert error.code == "policy.entrypoint_missing"
    assert "data.gateway.step.decision" in error.message


def test_a_rule_that_is_no_rego_names_file_and_line(home: Path) -> None:
    """The place is in fields of its own, for programs."""
    (home / "policies" / "gateway" / "step" / "bad.rego").write_text("package gateway.step\n\nallow if {\n")
    error = refusal(home)
    assert isinstance(error, PolicyInvalidError)
    assert error.file == "gateway/step/bad.rego"
    assert error.line is not None


class BusyDesk:
    """Is at work until it is closed without any time left."""

    def __init__(self) -> None:
        self.given: list[float] = []
        self._at_work = asyncio.Event()

    async def close(self, drain_seconds: float) -> None:
        self.given.append(drain_seconds)
        if not drain_seconds:
            self._at_work.set()
        await self._at_work.wait()


@pytest.mark.parametrize("before", [True, False])
async def test_what_is_at_work_has_its_time_until_somebody_cuts_it(before: bool) -> None:
    """A second signal ends the wait, whether it comes while the gateway drains or was there already."""
    desk, cut = BusyDesk(), asyncio.Event()
    if before:
        cut.set()
    closing = asyncio.create_task(assembly._Drain(3_600, cut).close(desk))  # type: ignore[arg-type] - one of its calls
    if not before:
        await asyncio.sleep(0)
        assert not closing.done()
        cut.set()
    async with asyncio.timeout(10):
        await closing
    assert desk.given == [3_600, 0.0]


async def test_work_that_ends_by_itself_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Retention, exports and the look at health would else be missing, and nobody know; a stop is no such end."""

    async def broken() -> None:
        raise RuntimeError("a bug")

    tasks = assembly._begun(broken(), asyncio.sleep(60))
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    tasks[1].cancel()
    await asyncio.wait(tasks)
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
