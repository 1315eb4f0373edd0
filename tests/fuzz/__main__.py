"""`python -m tests.fuzz TARGET [SECONDS]`: a target under atheris (docs/caching.md).

It begins with the saved corpus. What breaks the target is saved there, and ends the run with its traceback.
"""

import sys
import tempfile
from pathlib import Path

import atheris

from tests.fuzz.corpus import corpus, save

_SECONDS = 60


def main() -> None:
    """Fuzz one target."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    with atheris.instrument_imports(include=["engine", "gateway"]):
        from tests.fuzz.targets import BYTES_MAX, TARGETS, assert_survives  # noqa: PLC0415 - under instrumentation
    if name not in TARGETS:
        raise SystemExit(f"say which: {', '.join(TARGETS)}")
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else _SECONDS

    def one(data: bytes) -> None:
        try:
            assert_survives(name, data)
        except BaseException as error:
            save(name, data, f"found by atheris: {type(error).__name__}")
            raise

    with tempfile.TemporaryDirectory() as folder:
        for i, case in enumerate(corpus(name)):
            (Path(folder) / str(i)).write_bytes(case.data)
        atheris.Setup(
            [
                sys.argv[0],
                f"-artifact_prefix={folder}/",
                f"-max_total_time={seconds}",
                f"-max_len={BYTES_MAX}",
                "-timeout=20",
                folder,
            ],
            one,
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
