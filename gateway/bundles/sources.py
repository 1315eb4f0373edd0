"""Where bundles come from: a folder, an archive, or a server (`gateway.bundles.url_source`).

A source gives bytes, within bounds of size and time, and judges nothing: what it gives is verified and vetted by who
asked.
"""

import asyncio
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gateway.policy.bundle_files import read_archive_file, read_folder, write_archive


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A bundle as it came."""

    archive: bytes = field(repr=False)  # tar.gz
    etag: str  # "" where the source names none


class BundleSource(Protocol):
    """Gives a bundle."""

    @property
    def name(self) -> str:
        """A path, or a URL without what may be secret in it."""

    @property
    def remote(self) -> bool:
        """Whether another machine may give it, and whoever stands in its place."""

    @property
    def protected(self) -> bool:
        """Whether nobody can change on its way what it gives."""

    async def fetch(self, etag: str) -> Fetched | None:
        """Return the bundle, or None where it still is the one of `etag`; "" stands for none.

        Raises:
            BundleSourceError: it cannot be had now.
            PolicyInvalidError: there is one, and it is not even read: too large, a link, a name.
        """


class FolderSource:
    """A folder of this machine."""

    remote, protected = False, True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def name(self) -> str:
        """Its path."""
        return str(self._folder)

    async def fetch(self, etag: str) -> Fetched | None:
        """Read the folder; its ETag is a digest of its content."""
        archive = await asyncio.to_thread(lambda: write_archive(read_folder(self._folder)))
        return _unless_known(archive, etag)


class ArchiveSource:
    """A tar.gz of this machine."""

    remote, protected = False, True

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self._path)

    async def fetch(self, etag: str) -> Fetched | None:
        """Read the file; its ETag is a digest of its content."""
        return _unless_known(await asyncio.to_thread(read_archive_file, self._path), etag)


def _unless_known(archive: bytes, etag: str) -> Fetched | None:
    own = hashlib.sha256(archive).hexdigest()
    return None if own == etag else Fetched(archive=archive, etag=own)
