"""The gateway and the kernel under it: it says what binds its workers, and does not start where that is too little."""

from pathlib import Path

import pytest

from gateway import assembly
from gateway.assembly import running_gateway
from gateway.cli.demo import _held_by
from gateway.config import Config, load_config
from gateway.demo.scenario import ACTS, stage
from gateway.errors import ConfigurationError
from gateway.workers.isolation import Isolation, of_this_kernel
from tests.gateways import events_of, new_home, serving

BARE = Isolation(landlock_abi=0, seccomp=False)


async def test_a_gateway_says_what_is_in_force(tmp_path: Path) -> None:
    """Its value, and the first event of its log, name each layer; this machine lacks none."""
    made = new_home(tmp_path)
    async with serving(made, drain_seconds=0) as gateway:
        assert gateway.isolation == of_this_kernel()
        assert gateway.isolation.missing == ()
    [started] = [event for event in events_of(made) if event.event_type == "gateway.started"]
    assert started.details["isolation"] == list(of_this_kernel().in_force)
    assert started.details["missing"] == []


@pytest.mark.parametrize("accepted", [[], ["landlock"], ["seccomp"]])
async def test_a_kernel_that_lacks_a_layer_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accepted: list[str]
) -> None:
    """`config.isolation` before a process is started or the log is opened."""
    monkeypatch.setattr(assembly, "of_this_kernel", lambda: BARE)
    made = new_home(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        async with running_gateway(made.home, accepting(load_config(made.home), accepted)):
            pass
    assert caught.value.code == "config.isolation"
    assert not (made.home / "audit").exists()


async def test_a_gateway_starts_where_each_missing_layer_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its log says for ever that it ran without."""
    monkeypatch.setattr(assembly, "of_this_kernel", lambda: BARE)
    made = new_home(tmp_path)
    config = accepting(load_config(made.home), ["landlock", "seccomp"])
    async with running_gateway(made.home, config, drain_seconds=0) as gateway:
        assert gateway.isolation == BARE
        # The workers ask the kernel themselves: what it has binds them, whatever anybody accepts.
        status = Path(f"/proc/{gateway.sandbox.pids[0]}/status").read_text(encoding="ascii")  # noqa: ASYNC240
        assert "\nSeccomp:\t2\n" in status
    [started] = [event for event in events_of(made) if event.event_type == "gateway.started"]
    assert started.details["missing"] == ["landlock", "seccomp"]


async def test_the_demonstration_runs_anywhere_and_says_what_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a kernel without both it plays its acts, and one line tells what is in force and what serve would say."""
    monkeypatch.setattr(assembly, "of_this_kernel", lambda: BARE)
    async with stage(tmp_path) as running:
        assert (await running.play(ACTS[0])).as_expected
        assert _held_by(running.gateway.isolation) == (
            "Workers are held by rlimits, no_new_privs, no capabilities. This kernel lacks landlock and seccomp: "
            "serve refuses that unless workers.accept_without names it."
        )
    assert _held_by(Isolation(landlock_abi=7, seccomp=True)) == (
        "Workers are held by rlimits, no_new_privs, no capabilities, landlock (ABI 7), seccomp."
    )


def accepting(config: Config, layers: list[str]) -> Config:
    """Return the configuration with `workers.accept_without`."""
    return config.model_copy(update={"workers": config.workers.model_copy(update={"accept_without": layers})})
