"""Each check of the doctor: what is fine, what somebody should know of, and what stands against a start."""

import resource
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from engine.audit.files import SystemFiles
from engine.clock import SystemClock
from gateway.config import Config, load_config
from gateway.doctor import clock, disk, kernel, keys, process
from gateway.doctor.check import Check, State, require
from gateway.doctor.examination import self_test
from gateway.errors import ConfigurationError
from gateway.folders import AUDIT_FOLDER
from gateway.home import NewHome, make_home
from gateway.signing.signers import KEY_FILE, VERIFIER_KEY_FILE
from gateway.store.master_keys import KEY_FILE as PAYLOADS_KEY_FILE
from gateway.vault.master import KEY_FILE as SECRETS_KEY_FILE
from gateway.workers.isolation import Isolation
from tests.audit_logs import START, make_log, write_log
from tests.bundle_worlds import ManualClock

MIB = 1024 * 1024
WHOLE = Isolation(landlock_abi=4, seccomp=True)


class Disk(SystemFiles):
    """One with so much room, that fails where it is told to."""

    def __init__(self, free_mib: int = 1_000, fails: str = "") -> None:
        self._free, self._fails = free_mib * MIB, fails

    def free_bytes(self, _path: Path) -> int:
        return self._free

    def fdatasync(self, _fd: int) -> None:
        if self._fails == "fdatasync":
            raise OSError(5, "Input/output error")


@pytest.fixture
def made(tmp_path: Path) -> NewHome:
    return make_home(tmp_path / "home")


def states(*checks: Check) -> dict[str, State]:
    """Return them by code; whatever is not fine says what to do."""
    assert all(check.advice for check in checks if check.state is not State.OK), checks
    return {check.code: check.state for check in checks}


def test_a_layer_that_lacks_is_a_failure_unless_it_is_named() -> None:
    """As a start would have it."""
    lacking = Isolation(landlock_abi=0, seccomp=True)
    assert kernel.isolation(WHOLE, ()).state is State.OK
    assert states(kernel.isolation(lacking, ("seccomp",))) == {"kernel.isolation": State.FAIL}
    assert states(kernel.isolation(lacking, ("landlock",))) == {"kernel.isolation": State.WARN}


def test_this_kernel_has_the_calls(tmp_path: Path) -> None:
    """openat2, pidfd_open and memfd_create; a folder that is not there is told as such."""
    assert states(kernel.beneath(tmp_path), kernel.processes()) == {
        "kernel.openat2": State.OK,
        "kernel.processes": State.OK,
    }
    assert states(kernel.beneath(tmp_path / "none")) == {"kernel.openat2": State.FAIL}


def test_the_keys_of_a_new_home_open(made: NewHome) -> None:
    """All three, with the folder for its owner alone."""
    found = [keys.folder(made.home), *keys.all_keys(made.home, load_config(made.home), SystemClock())]
    assert set(states(*found).values()) == {State.OK}
    assert len(found) == 4


@pytest.mark.parametrize(
    ("name", "code"),
    [(KEY_FILE, "keys.log"), (PAYLOADS_KEY_FILE, "keys.payloads"), (SECRETS_KEY_FILE, "keys.secrets")],
)
def test_a_key_that_others_can_read_is_told(made: NewHome, name: str, code: str) -> None:
    """The vault is asked where there is one; its key alone is of no use to anybody."""
    (made.home / name).chmod(0o644)
    if code == "keys.secrets":
        (made.home / "secrets").mkdir()
        (made.home / "secrets" / "vault.json").write_text("{}")
    found = states(*keys.all_keys(made.home, load_config(made.home), SystemClock()))
    assert found[code] is State.FAIL


def test_a_log_key_that_is_not_the_public_half_is_told(made: NewHome, tmp_path: Path) -> None:
    """An auditor would hold the log against the wrong key."""
    other = make_home(tmp_path / "other")
    (made.home / VERIFIER_KEY_FILE).write_text(other.verifier_key + "\n")
    assert states(keys.signing(made.home, Config())) == {"keys.log": State.FAIL}
    (made.home / VERIFIER_KEY_FILE).write_text("garbage")
    assert states(keys.signing(made.home, Config())) == {"keys.log": State.WARN}


def test_a_home_that_others_may_enter_is_told(made: NewHome) -> None:
    """Chmod is the advice."""
    made.home.chmod(0o755)
    assert states(keys.folder(made.home)) == {"keys.home": State.WARN}
    assert states(keys.folder(made.home / "none")) == {"keys.home": State.FAIL}


@pytest.mark.parametrize(("free_mib", "state"), [(64, State.FAIL), (100, State.WARN), (1_000, State.OK)])
def test_room_is_what_is_configured_beside_the_reserve(tmp_path: Path, free_mib: int, state: State) -> None:
    """64 MiB by default, and the log's own."""
    assert states(disk.room(tmp_path, Config(), Disk(free_mib))) == {"disk.room": state}


def test_a_disk_that_does_not_sync_is_told_and_stops_a_start(tmp_path: Path) -> None:
    """Nothing is left of the try."""
    assert states(disk.syncs(tmp_path, Disk())) == {"disk.sync": State.OK}
    assert list(tmp_path.iterdir()) == []
    failed = disk.syncs(tmp_path, Disk(fails="fdatasync"))
    with pytest.raises(ConfigurationError) as caught:
        require(failed)
    assert caught.value.code == "doctor.disk.sync"


async def test_a_start_goes_without_no_disk_and_with_a_clock_that_is_behind(tmp_path: Path) -> None:
    """A clock that was ahead once does not stop a gateway for ever; a full disk does, before anything else."""
    await write_log(tmp_path / AUDIT_FOLDER, 3)
    behind = ManualClock(wall=START - timedelta(days=1))
    await self_test(tmp_path, Config(), behind, Disk())
    with pytest.raises(ConfigurationError) as caught:
        await self_test(tmp_path, Config(), behind, Disk(1))
    assert caught.value.code == "doctor.disk.room"


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
nas:/x /srv/a\\040b nfs4 rw 0 0
overlay /var overlay rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/home/x", "ext4"), ("/run/x/y", "tmpfs"), ("/running", "ext4"), ("/srv/a b/c", "nfs4"), ("/var", "overlay")],
)
def test_the_file_system_is_that_of_the_longest_mount(path: str, expected: str) -> None:
    """By whole names, with the escapes of the kernel read back."""
    assert disk.file_system(Path(path), MOUNTS) == expected


def test_memory_and_networks_are_no_disks(tmp_path: Path) -> None:
    """A warning each; what is not known is no reason for one."""
    for kind, state in (("ext4", State.OK), ("tmpfs", State.WARN), ("overlay", State.WARN), ("nfs4", State.WARN)):
        assert disk.kind(tmp_path, f"x / {kind} rw 0 0\n").state is state
    assert disk.kind(tmp_path, "").state is State.OK


@pytest.mark.parametrize(
    ("behind", "state"),
    [(timedelta(0), State.OK), (timedelta(seconds=30), State.WARN), (timedelta(hours=2), State.FAIL)],
)
def test_the_clock_is_held_against_the_newest_event(tmp_path: Path, behind: timedelta, state: State) -> None:
    """Events never go back in time, so a clock that did has to catch up."""
    make_log(tmp_path / AUDIT_FOLDER, 3)
    assert states(clock.monotone(tmp_path, ManualClock(wall=START - behind))) == {"clock.monotone": state}
    assert clock.monotone(tmp_path / "new", ManualClock()).state is State.OK


def test_a_clock_that_nobody_keeps_is_told() -> None:
    """And so is that nobody can tell; the kernel is asked without changing it."""
    assert clock.synchronized(lambda: True).state is State.OK
    assert states(clock.synchronized(lambda: False)) == {"clock.synchronized": State.WARN}
    assert states(clock.synchronized(lambda: None)) == {"clock.synchronized": State.WARN}
    assert clock.kernel_synchronized() in {True, False, None}


def test_files_are_held_against_what_missions_take() -> None:
    """Two for each that may run, by the hard limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = Config.model_validate({"limits": {"missions_running_max": 100_000}})
    assert process.files(Config.model_validate({"limits": {"missions_running_max": 1}})).state is State.OK
    assert (process.files(wanted).state is State.OK) is (most >= 200_512)


def test_an_address_is_free_in_use_or_none() -> None:
    """In use is a warning, since it may be the gateway's own; a network without TLS is a failure."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert states(process.address(Config(listen=f"127.0.0.1:{port}"))) == {"process.address": State.WARN}
    assert process.address(Config(listen="127.0.0.1:0")).state is State.OK
    assert states(process.address(Config(listen="0.0.0.0:1"))) == {"process.address": State.FAIL}


def test_tls_files_that_cannot_be_used_are_told(made: NewHome) -> None:
    """Where there is TLS, there is a check of it."""
    with (made.home / "missiongate.toml").open("a") as config:
        config.write('\n[tls]\ncert_file = "none.pem"\nkey_file = "none.key"\n')
    found = states(*keys.all_keys(made.home, load_config(made.home), SystemClock()))
    assert found["keys.tls"] is State.FAIL
