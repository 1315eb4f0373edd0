"""The manifest: every file of a backup with its digest, and what the log was when it was taken.

    manifest.json   {"format": "missiongate backup v1", "created", "version", "log": {"origin", "size", "root", "key"},
                     "keys": "none" | "sealed" | "clear", "skipped": n,
                     "files": [{"path", "bytes", "sha256"} | {"path", "link"}]}
    home/…          the files, as they lie in a home; `keys.sealed` beside it holds the keys, where they were asked for

A path is relative to the home, with `/`, its bytes percent-encoded where they are no plain ASCII.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote_from_bytes, unquote_to_bytes

import orjson

from gateway.errors import BackupError

FORMAT: Final = "missiongate backup v1"
MANIFEST: Final = "manifest.json"
HOME: Final = "home"
SEALED_KEYS: Final = "keys.sealed"
FILES_MAX: Final = 1_000_000
MANIFEST_BYTES_MAX: Final = 512 * 1024 * 1024
LINK_BYTES_MAX: Final = 4_096
_CHUNK: Final = 1024 * 1024
_SAFE: Final = "/._-+@:,= "
_INVALID: Final = "backup.invalid"

Keys = Literal["none", "sealed", "clear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file, or a symbolic link, which is kept as one and never followed."""

    path: bytes  # relative, with /
    size: int = 0
    sha256: str = ""  # of a file
    link: bytes | None = None  # what a link says

    def document(self) -> dict[str, object]:
        """Return it as the manifest has it."""
        path = quote_from_bytes(self.path, safe=_SAFE)
        if self.link is not None:
            return {"path": path, "link": quote_from_bytes(self.link, safe=_SAFE)}
        return {"path": path, "bytes": self.size, "sha256": self.sha256}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogState:
    """What the copied log is."""

    origin: str
    size: int  # events under its checkpoint
    root: str  # base64
    key: str  # verifier key, as the home names it


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A whole backup."""

    created: str  # RFC 3339
    version: str  # of the software
    log: LogState
    keys: Keys
    skipped: int  # sockets, pipes and devices, which no copy can have
    files: tuple[Entry, ...]

    def text(self) -> bytes:
        """Return the file's content."""
        log = {"origin": self.log.origin, "size": self.log.size, "root": self.log.root, "key": self.log.key}
        return orjson.dumps(
            {
                "format": FORMAT,
                "created": self.created,
                "version": self.version,
                "log": log,
                "keys": self.keys,
                "skipped": self.skipped,
                "files": [entry.document() for entry in self.files],
            },
            option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
        )

    @property
    def size_bytes(self) -> int:
        """What the files take together."""
        return sum(entry.size for entry in self.files)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a backup; nothing that it names was looked at yet.

    Raises:
        BackupError: `backup.unreadable`; `backup.invalid`, it is none, or names a place that no file of a home has.
    """
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            raw = file.read(MANIFEST_BYTES_MAX + 1)
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror}", code="backup.unreadable") from error
    if len(raw) > MANIFEST_BYTES_MAX:
        raise BackupError(f"{path}: is too large", code=_INVALID)
    try:
        return _manifest(orjson.loads(raw))
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{path}: is no manifest of a backup: {error}", code=_INVALID) from error


def _manifest(document: Mapping[str, Any]) -> Manifest:
    if document["format"] != FORMAT:
        raise ValueError(f"its format is {document['format']!r}, not {FORMAT!r}")
    if document["keys"] not in {"none", "sealed", "clear"} or len(document["files"]) > FILES_MAX:
        raise ValueError("keys or files are not what they may be")
    log = document["log"]
    files = tuple(_entry(each) for each in document["files"])
    if len({entry.path for entry in files}) < len(files):
        raise ValueError("it names a file twice")
    links = {entry.path for entry in files if entry.link is not None}
    for entry in files:  # or a file would be written through a link
        parts = entry.path.split(b"/")
        if any(b"/".join(parts[:count]) in links for count in range(1, len(parts))):
            raise ValueError("it names a file below a link")
    return Manifest(
        created=_text(document["created"]),
        version=_text(document["version"]),
        log=LogState(
            origin=_text(log["origin"]), size=int(log["size"]), root=_text(log["root"]), key=_text(log["key"])
        ),
        keys=document["keys"],
        skipped=int(document["skipped"]),
        files=files,
    )


def _entry(document: Mapping[str, Any]) -> Entry:
    path = checked_path(unquote_to_bytes(_text(document["path"])))
    if "link" in document:
        link = unquote_to_bytes(_text(document["link"]))
        if not 0 < len(link) <= LINK_BYTES_MAX or b"\0" in link:
            raise ValueError("a link is too long, or leads nowhere")
        return Entry(path=path, link=link)
    digest, size = _text(document["sha256"]), document["bytes"]
    if len(digest) != hashlib.sha256().digest_size * 2 or type(size) is not int or size < 0:
        raise ValueError("a file has no digest or no size")
    return Entry(path=path, size=size, sha256=digest)


def checked_path(path: bytes) -> bytes:
    """Return a path that stays below where it is put.

    Raises:
        ValueError: it does not.
    """
    if any(part in {b"", b".", b".."} for part in path.split(b"/")) or b"\0" in path:
        raise ValueError(f"{path!r} is no place in a home")
    return path


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is something else")
    return value


def copied(source: int, target: int, *, bytes_max: int | None = None) -> tuple[int, str]:
    """Copy an open file to another, and return how many bytes, and their SHA-256; at most `bytes_max`."""
    digest, count = hashlib.sha256(), 0
    while part := os.read(source, _CHUNK if bytes_max is None else min(_CHUNK, bytes_max - count)):
        digest.update(part)
        count += len(part)
        view = memoryview(part)
        while view:
            view = view[os.write(target, view) :]
    return count, digest.hexdigest()
