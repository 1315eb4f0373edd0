"""The verifier's reading of a log's folders: bounded memory, lines split on LF and nothing else."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.audit.verify.line import LINE_BYTES_MAX
from engine.audit.verify.verdict import Verdict

_CHUNK_BYTES: Final = 1024 * 1024
_FILES_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """One segment as it was when the verification began."""

    first_seq: int
    path: Path
    size_bytes: int
    archived: bool = False

    @property
    def name(self) -> str:
        """The file as a report names it."""
        return f"{'archive' if self.archived else 'segments'}/{self.path.name}"


def find_segments(directory: Path, *, archived: bool = False) -> list[SegmentFile]:
    """Return the segment files of a log, or of an archive, in order; none where the folder is missing.

    An archive has them in `segments/`, as a log has, or is itself that folder, whatever else is in it.

    Raises:
        Verdict: `log.malformed`, there is something else in the folder.
        OSError: it cannot be read.
    """
    folder = directory / "segments"
    if archived and not folder.is_dir():
        folder = directory
    found = numbered(folder, "jsonl", strict=not archived)
    return [SegmentFile(seq, path, path.stat().st_size, archived) for seq, path in found.items()]


def numbered(folder: Path, extension: str, *, strict: bool = True) -> dict[int, Path]:
    """Return the files `<20 digits>.<extension>` of a folder by their number, in order; none where it is missing.

    Files on their way (`*.tmp`) are passed over, but not in `segments/`, whose files are never renamed.

    Raises:
        Verdict: `log.malformed`: there is anything else, and `strict`.
        OSError: it cannot be read.
    """
    if not folder.exists():
        return {}
    pattern = re.compile(r"(\d{20})\." + re.escape(extension), re.ASCII)
    files: dict[int, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        match = pattern.fullmatch(path.name)
        if match is not None and not path.is_symlink() and path.is_file():
            files[int(match[1])] = path
        elif strict and (not path.name.endswith(".tmp") or extension == "jsonl"):
            raise Verdict("log.malformed", f"{folder.name}/{path.name} does not belong there")
        if len(files) > _FILES_MAX:
            raise Verdict("log.malformed", f"{folder.name} has more than {_FILES_MAX} files")
    return files


def read_bounded(path: Path, bytes_max: int) -> bytes:
    """Return a file's content, or one byte more than the most that it may have.

    Raises:
        OSError: it cannot be read, or is a pipe, whose other end nobody may ever open.
    """
    if path.is_fifo():
        raise OSError(f"{path.name} is a pipe")
    with path.open("rb") as file:
        return file.read(bytes_max + 1)


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
