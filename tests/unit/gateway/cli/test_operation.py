"""Signals, the service manager, and the commands that look at a configuration."""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.cli.notify import READY, ServiceManager
from gateway.cli.signals import Signals
from gateway.config import CONFIG_NAME
from gateway.errors import ConfigurationError
from tests.cli_runner import run


def test_a_second_signal_ends_the_wait() -> None:
    """The first stops, and only the next one cuts what is at work."""
    signals = Signals()
    signals.asked_to_stop()
    assert (signals.stop.is_set(), signals.cut.is_set()) == (True, False)
    signals.asked_to_stop()
    assert signals.cut.is_set()


async def test_a_reload_that_is_refused_is_not_the_last() -> None:
    """Each SIGHUP is one try, and one that comes meanwhile is one more."""
    signals, tries = Signals(), []
    done = asyncio.Event()

    async def reload() -> None:
        tries.append(len(tries))
        if len(tries) == 1:
            signals.asked_to_reload()
            raise ConfigurationError("no")
        done.set()

    following = asyncio.create_task(signals.follow_reloads(reload))
    signals.asked_to_reload()
    async with asyncio.timeout(10):
        await done.wait()
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    assert tries == [0, 1]


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told_by_datagrams(tmp_path: Path, abstract: bool) -> None:
    """A socket of the file system or an abstract one; a reload carries its moment, as systemd wants it."""
    name = f"@missiongate-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name[1:]}" if abstract else name)
        told = ServiceManager({"NOTIFY_SOCKET": name})
        told.tell(READY, status="serving")
        told.reloading()
        assert manager.recv(1_000) == b"READY=1\nSTATUS=serving"
        kind, moment = manager.recv(1_000).decode().split("\n")
        assert kind == "RELOADING=1"
        assert int(moment.removeprefix("MONOTONIC_USEC=")) > 0


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_without_a_service_manager_nothing_fails(environ: dict[str, str]) -> None:
    """A gateway in a shell, or one whose manager has gone."""
    ServiceManager(environ).tell(READY)
    assert not environ or not Path(environ["NOTIFY_SOCKET"]).exists()


def test_config_check_lists_every_mistake(tmp_path: Path) -> None:
    """Key, rule and place of each; exit 2, in both forms."""
    (tmp_path / CONFIG_NAME).write_text("colour = 'red'\n[limits]\nsteps_max = 0")
    done = run("config", "check", "--home", tmp_path, "-o", "json", env={"MISSIONGATE__ANONYMOUS": "perhaps"})
    assert done.code == 2
    assert {(error["field"], error["place"]) for error in done.json["errors"]} == {
        ("colour", str(tmp_path / CONFIG_NAME)),
        ("limits.steps_max", str(tmp_path / CONFIG_NAME)),
        ("anonymous", "MISSIONGATE__ANONYMOUS"),
    }
    text = run("config", "check", "--home", tmp_path)
    assert (text.code, text.err.count("✗")) == (2, 2)


def test_config_check_and_show_of_a_good_one(tmp_path: Path) -> None:
    """Exit 0; `--changed` shows what somebody has said, and a network address is refused as at the start."""
    (tmp_path / CONFIG_NAME).write_text("anonymous = true")
    assert run("config", "check", "--home", tmp_path).code == 0
    done = run("config", "show", "--home", tmp_path, "--changed", "-o", "json")
    [row] = done.json["settings"]
    assert (row["key"], row["value"], row["origin"]) == ("anonymous", True, "file")
    assert "operation.drain_seconds" in run("config", "show", "--home", tmp_path).out
    assert run("config", "check", "--home", tmp_path, "--listen", "0.0.0.0:1").code == 2
