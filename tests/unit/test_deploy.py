"""The files for service managers and containers: what the documentation says of them is there."""

import re
import subprocess
from pathlib import Path

import pytest

from gateway.config import Config
from tests.outside_tools import need

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy/systemd/missiongate.service"
CONTAINERFILE = ROOT / "deploy/container/Containerfile"


def unit() -> dict[str, list[str]]:
    """Return the directives of [Service], those that may stand twice as lists."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_waits_for_the_gateway_and_reloads_it() -> None:
    """READY is what `systemctl start` waits for; SIGHUP what reloads; a stop has longer than a drain."""
    service = unit()
    assert service["Type"] == ["notify"]
    assert service["ExecStart"][0].endswith("/missiongate serve")
    assert service["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert int(service["TimeoutStopSec"][0]) > 3 * Config().operation.drain_seconds
    assert service["RestartPreventExitStatus"] == ["2"]


@pytest.mark.parametrize(
    ("directive", "value"),
    [
        ("User", "missiongate"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("ProtectKernelTunables", "yes"),
        ("RestrictNamespaces", "yes"),
        ("LockPersonality", "yes"),
        ("SystemCallArchitectures", "native"),
        ("UMask", "0077"),
        ("StateDirectoryMode", "0700"),
    ],
)
def test_the_unit_takes_away_what_is_not_needed(directive: str, value: str) -> None:
    """One by one; no capability, no device, nobody else's home, nothing that is written beside the state."""
    assert unit()[directive] == [value]


def test_the_unit_leaves_what_the_lockdown_of_workers_takes() -> None:
    """Landlock and seccomp have to be put in force by the gateway itself, and wasmtime makes machine code."""
    filters = " ".join(unit()["SystemCallFilter"])
    for call in (
        "@system-service",
        "landlock_create_ruleset",
        "landlock_add_rule",
        "landlock_restrict_self",
        "seccomp",
    ):
        assert call in filters.split()
    assert "MemoryDenyWriteExecute" not in unit()
    assert "AF_UNIX" in unit()["RestrictAddressFamilies"][0]


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """As far as `systemd-analyze verify` goes; the programs that it names are installed elsewhere."""
    analyze = need("systemd-analyze", "of systemd (tools/install_debian.sh installs it)")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/missiongate/bin/missiongate", "/bin/true"))
    done = subprocess.run([analyze, "verify", copy], capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert told == [], done.stderr


def stages() -> list[list[str]]:
    """Return the instructions of each stage, continued lines joined."""
    text = re.sub(r"^#.*\n", "", CONTAINERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found: list[list[str]] = []
    for line in filter(None, text.splitlines()):
        if line.startswith("FROM "):
            found.append([])
        found[-1].append(re.sub(r" +", " ", line))
    return found


def test_the_image_runs_without_tools_and_as_nobody() -> None:
    """Two stages: what compiles stays in the first; the second copies one folder, and is a user of its own."""
    build, run = stages()
    assert any("ziglang" in line for line in build)
    assert not any(re.search(r"ziglang|pip install|apt-get|curl", line) for line in run)
    assert [line for line in run if line.startswith("COPY")] == ["COPY --from=build /opt/missiongate /opt/missiongate"]
    user = next(line for line in run if line.startswith("USER "))
    assert user == "USER 10001:10001"
    assert run.index(user) < next(n for n, line in enumerate(run) if line.startswith("ENTRYPOINT"))
    assert 'CMD ["serve"]' in run


def test_the_image_is_built_of_what_is_in_the_lock_file() -> None:
    """Each wheel is held to its hash, and nothing is fetched afterwards; every file that is copied is there."""
    build, _ = stages()
    downloads = [line for line in build if re.search(r"pip (download|install|wheel)", line)]
    assert "--require-hashes" in downloads[0]
    assert all("--no-index" in part for line in downloads[1:] for part in line.split("&&") if "pip install" in part)
    for line in build:
        if line.startswith("COPY "):
            for name in line.split()[1:-1]:
                assert (ROOT / name).exists(), name


def test_the_documentation_says_what_was_not_run() -> None:
    """An operator learns that nobody has started the unit, and that nobody has built the image."""
    page = (ROOT / "docs/operations.md").read_text()
    assert "It was not started by a systemd, and the image was not built" in page
    assert "deploy/systemd/missiongate.service" in page
