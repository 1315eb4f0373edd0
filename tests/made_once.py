"""What a run of the tests makes once: whichever of its workers needs it first makes it, the others wait and read it."""

import fcntl
import hashlib
from collections.abc import Callable
from pathlib import Path

_shared: list[Path] = []


def share(folder: Path) -> None:
    """Keep what is made in `folder`, the same for all workers of the run; pytest throws it away in the end."""
    folder.mkdir(exist_ok=True)
    _shared[:] = [folder]


def made_once(what: str, make: Callable[[], bytes]) -> bytes:
    """Return what `make` returns, made once a run; `what` names all that it depends on. What it raises is not kept."""
    [folder] = _shared
    path = folder / hashlib.sha256(what.encode()).hexdigest()
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            fresh = path.with_suffix(".new")
            fresh.write_bytes(make())
            fresh.rename(path)
        return path.read_bytes()
