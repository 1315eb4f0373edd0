"""What a kernel has, what an operator accepts to be missing, and that a worker is never the one to be lenient."""

import os
from collections.abc import Callable

import pytest

from gateway.errors import WorkerError
from gateway.workers import isolation, landlock, lockdown, seccomp
from gateway.workers.isolation import Isolation, Layer
from gateway.workers.limits import ResourceLimits
from gateway.workers.lockdown import Lockdown

LIMITS = ResourceLimits(address_space_bytes_max=1 << 30)
KERNELS = [Isolation(landlock_abi=abi, seccomp=there) for abi in (0, 1, 7) for there in (False, True)]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("without", [(), ("landlock",), ("seccomp",), ("landlock", "seccomp")])
def test_each_missing_layer_must_be_named(kernel: Isolation, without: tuple[str, ...]) -> None:
    """A kernel passes if, and only if, each layer that it lacks is accepted by its own name."""
    if set(kernel.missing) <= set(without):
        isolation.require(kernel, without)
        assert {*kernel.missing} <= {*without}
    else:
        with pytest.raises(WorkerError) as caught:
            isolation.require(kernel, without)
        assert caught.value.code in {f"worker.{layer}_missing" for layer in set(kernel.missing) - set(without)}


def test_what_is_in_force_names_what_is_there() -> None:
    """The line for people and for the log: nothing that is missing, and the version of Landlock."""
    assert Isolation(landlock_abi=0, seccomp=False).in_force == ("rlimits", "no_new_privs", "no capabilities")
    assert Isolation(landlock_abi=7, seccomp=True).in_force[3:] == ("landlock (ABI 7)", "seccomp")


class _Kernel:
    """Stands for the kernel and this process: what is asked of it, in order."""

    def __init__(self, patch: pytest.MonkeyPatch, *, landlock_abi: int, has_seccomp: bool) -> None:
        self.asked: list[str] = []
        patch.setattr(landlock, "abi", lambda: landlock_abi)
        patch.setattr(seccomp, "available", lambda: has_seccomp)
        patch.setattr(lockdown, "no_new_privileges", self._note("no_new_privs"))
        patch.setattr(lockdown, "drop_all", self._note("capabilities"))
        patch.setattr(landlock, "restrict", self._note("landlock"))
        patch.setattr(ResourceLimits, "apply", self._note("rlimits"))
        patch.setattr(seccomp, "install", self._note("seccomp"))

    def _note(self, what: str) -> Callable[..., None]:
        return lambda *_: self.asked.append(what)


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Pretend that this process has one thread, as a worker has."""
    tasks = tmp_path_factory.mktemp("task")
    (tasks / str(os.getpid())).mkdir()
    monkeypatch.setattr(lockdown, "_TASKS", tasks)


@pytest.mark.usefixtures("one_thread")
def test_accepting_a_layer_s_absence_never_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel has both, both apply, whatever the operator accepts; the filter last."""
    kernel = _Kernel(monkeypatch, landlock_abi=3, has_seccomp=True)
    bound = Lockdown(limits=LIMITS, filter_program=b"", without=frozenset(Layer))
    bound.cut_off()
    bound.bind()
    assert kernel.asked == ["no_new_privs", "capabilities", "landlock", "rlimits", "seccomp"]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("abi", "has_seccomp"), [(0, True), (1, False), (0, False)])
def test_a_worker_that_lacks_a_layer_does_not_become_ready(
    monkeypatch: pytest.MonkeyPatch, abi: int, has_seccomp: bool
) -> None:
    """Without the operator's word it raises before anything of its own runs, however it was started."""
    kernel = _Kernel(monkeypatch, landlock_abi=abi, has_seccomp=has_seccomp)
    with pytest.raises(WorkerError):
        Lockdown(limits=LIMITS, filter_program=b"").cut_off()
    assert kernel.asked == []


@pytest.mark.usefixtures("one_thread")
def test_what_is_accepted_to_be_missing_is_gone_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest still applies."""
    kernel = _Kernel(monkeypatch, landlock_abi=0, has_seccomp=False)
    bound = Lockdown(limits=LIMITS, filter_program=b"", without=frozenset(Layer))
    bound.cut_off()
    bound.bind()
    assert kernel.asked == ["no_new_privs", "capabilities", "rlimits"]


def test_a_second_thread_stops_the_lockdown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Landlock and capabilities are of one thread: one that is there already would keep everything."""
    kernel = _Kernel(monkeypatch, landlock_abi=7, has_seccomp=True)

    class _Two:
        def iterdir(self) -> list[int]:
            return [1, 2]

    monkeypatch.setattr(lockdown, "_TASKS", _Two())
    with pytest.raises(WorkerError) as caught:
        Lockdown(limits=LIMITS, filter_program=b"").cut_off()
    assert caught.value.code == "worker.start_failed"
    assert kernel.asked == []
