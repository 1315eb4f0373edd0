"""What a figure depends on besides the code: processor, kernel, interpreter, load, and the commit measured."""

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where and on what a run took place; nothing that names the machine itself."""

    cpu: str
    cores: int  # that this process may use
    kernel: str
    python: str
    commit: str  # abbreviated, with a `+` where files of the checkout had changed
    load: tuple[float, float, float]  # averages of 1, 5 and 15 minutes, before the run

    @classmethod
    def here(cls) -> "Machine":
        """Describe this one."""
        return cls(
            cpu=_cpu(),
            cores=len(os.sched_getaffinity(0)),
            kernel=f"{platform.system()} {platform.release().partition('-')[0]}",
            python=f"{platform.python_implementation()} {platform.python_version()}",
            commit=_commit(),
            load=os.getloadavg(),
        )

    def __str__(self) -> str:
        load = " ".join(f"{average:.2f}" for average in self.load)
        return (
            f"{self.cpu}, {self.cores} cores, {self.kernel}, {self.python}, commit {self.commit}; "
            f"load average before the run {load}"
        )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True)  # noqa: S607 - the git of the caller's PATH
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _commit() -> str:
    commit = _git("rev-parse", "--short", "HEAD")
    if commit is None:
        return "unknown"
    return f"{commit}+" if _git("status", "--porcelain", "--untracked-files=no") else commit
