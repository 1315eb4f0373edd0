"""The verifier's reading of segment files: bounded memory, lines split on LF and nothing else."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.audit.verify.line import LINE_BYTES_MAX

_NAME: Final = re.compile(r"(\d{20})\.jsonl", re.ASCII)
_CHUNK_BYTES: Final = 1024 * 1024


class SegmentsError(ValueError):
    """The folder of segments is not what a log has; the text says why."""


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """One segment as it was when the verification began."""

    first_seq: int
    path: Path
    size_bytes: int


def find_segments(directory: Path) -> list[SegmentFile]:
    """Return the segment files in order.

    Raises:
        SegmentsError: there is something else in the folder.
        OSError: it cannot be read.
    """
    files = []
    for path in sorted((directory / "segments").iterdir(), key=lambda path: path.name):
        match = _NAME.fullmatch(path.name)
        if match is None or path.is_symlink() or not path.is_file():
            raise SegmentsError(f"segments/{path.name} is no segment")
        files.append(SegmentFile(int(match[1]), path, path.stat().st_size))
    return files


def line_chunks(path: Path) -> Iterator[tuple[list[bytes], bytes]]:
    """Yield the lines of a file, without LF, some at a time, each time with what is left of a torn last line.

    The rest is empty but in the last pair, and there too in a file that ends as it should.
    """
    with path.open("rb", buffering=0) as file:
        rest = b""
        while chunk := file.read(_CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            yield lines, b""
            if len(rest) > LINE_BYTES_MAX:
                break
        yield [], rest
