"""Which bundles there are, which is in force and which was before, on disk: `<home>/policy/`.

    policy/history.json         entries, what is in force, what was before, and the mark
    policy/bundles/HEX.tar.gz   the archives, each by the SHA-256 of its bytes
    policy/confirmed            when the source was last confirmed

Every change is one rename of history.json; an archive is on the disk before an entry names it, and is removed after
none does. So a gateway that is killed, or a machine whose power goes, at any moment has the state before the change or
the one after it. What is kept is not trusted for being here: an archive is compared with its entry whenever it is
read, and is verified and vetted by whoever reads it.

Nothing here is safe for two processes or two threads at once: the caller holds the log's lock, and makes one change
at a time.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

from engine.audit.files import Files, SystemFiles, ensure_directory, persist
from engine.clock import rfc3339
from gateway.bundles.entry import Entry, Mark, archive_digest
from gateway.bundles.history_file import State, pack_state, parse_state
from gateway.errors import ConflictError, NotFoundError, PolicyInvalidError, StoreError
from gateway.policy.bundle_files import ARCHIVE_BYTES_MAX

HISTORY_NAME: Final = "history.json"
HISTORY_BYTES_MAX: Final = 4 * 1024 * 1024

_CONFIRMED: Final = "confirmed"
_ARCHIVES: Final = "bundles"
_HEX_PREFIX: Final = re.compile(r"[0-9a-f]{6,64}")  # of a digest, to name a bundle by


class History:
    """The bundles that are kept. `open` is its maker."""

    def __init__(self, folder: Path, state: State, *, kept_max: int, files: Files) -> None:
        self._folder = folder
        self._archives = folder / _ARCHIVES
        self._state = state
        self._kept_max = kept_max
        self._files = files

    @classmethod
    def open(cls, folder: Path, *, kept_max: int, files: Files | None = None) -> "History":
        """Read what is there, remove what a killed process has left half done, and return it; blocks.

        Raises:
            StoreError: `policy.history`: it cannot be read, or is damaged. Nothing is guessed then, since what is in
                force may be what a person went back to.
        """
        files = files or SystemFiles()
        try:
            ensure_directory(files, folder / _ARCHIVES)
            path = folder / HISTORY_NAME
            state = parse_state(_bounded(path, HISTORY_BYTES_MAX)) if path.exists() else State()
            history = cls(folder, state, kept_max=kept_max, files=files)
            history._sweep()
        except OSError as error:
            raise _fault(f"{folder}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise _fault(f"{folder / HISTORY_NAME} is damaged: {error}") from error
        return history

    @classmethod
    def glance(cls, folder: Path) -> "History | None":
        """Read what is there beside a gateway that may be at work, and change nothing; None where there is none yet.

        Raises:
            StoreError: as `open`.
        """
        path = folder / HISTORY_NAME
        try:
            state = parse_state(_bounded(path, HISTORY_BYTES_MAX))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _fault(f"{path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise _fault(f"{path} is damaged: {error}") from error
        return cls(folder, state, kept_max=len(state.entries) + 1, files=SystemFiles())

    @property
    def state(self) -> State:
        """What holds now."""
        return self._state

    def find(self, name: str) -> Entry:
        """Return the entry of a digest, of the unique beginning of one (6 digits or more), or of a revision.

        Raises:
            NotFoundError: `policy.bundle_not_found`.
            ConflictError: `policy.bundle_ambiguous`, two or more are named so.
        """
        entries = self._state.entries
        prefix = name.removeprefix("sha256:")
        if exact := self._state.entry(f"sha256:{prefix}"):
            return exact
        begins = [e for e in entries if _HEX_PREFIX.fullmatch(prefix) and e.digest.startswith(f"sha256:{prefix}")]
        found = {e.digest: e for e in (*begins, *(e for e in entries if e.revision == name and name))}
        if not found:
            raise NotFoundError(f"no bundle is kept by the name {name[:128]!r}", code="policy.bundle_not_found")
        if len(found) > 1:
            message = f"{len(found)} bundles are kept by the name {name[:128]!r}; name one by more of its digest"
            raise ConflictError(message, code="policy.bundle_ambiguous")
        return next(iter(found.values()))

    def archive(self, entry: Entry) -> bytes:
        """Return the archive of an entry; blocks.

        Raises:
            PolicyInvalidError: `policy.bundle_damaged`: it is not what was kept.
        """
        try:
            content = _bounded(self._path(entry.archive), ARCHIVE_BYTES_MAX)
        except (OSError, ValueError) as error:
            message = f"what is kept of {entry.digest} cannot be read"
            raise PolicyInvalidError(message, code="policy.bundle_damaged") from error
        if archive_digest(content) != entry.archive:
            raise PolicyInvalidError(f"what is kept of {entry.digest} was changed", code="policy.bundle_damaged")
        return content

    def holds(self, entry: Entry) -> bool:
        """Return whether the archive of an entry is there, and whole. Blocks."""
        try:
            return bool(self.archive(entry))
        except PolicyInvalidError:
            return False

    def keep(self, entry: Entry, archive: bytes) -> None:
        """Keep a bundle, in place of one with the same digest; the oldest that are over the limit go. Blocks.

        Raises:
            StoreError: `policy.history`; nothing has changed.
        """
        kept = [other for other in self._state.entries if other.digest != entry.digest]
        state = self._pruned(replace(self._state, entries=(*kept, entry)), entry.digest)

        def write() -> None:
            if not self.holds(entry):
                self._persist(self._archives, self._path(entry.archive).name, archive)

        self._change(state, write)

    def activate(self, digest: str, *, pinned: bool, mark: Mark | None) -> None:
        """Say what is in force from now on. Blocks.

        Raises:
            StoreError: `policy.history`; nothing has changed.
        """
        stack = self._state.activations
        if self._state.active != digest:
            stack = (*stack, digest)
        self._change(replace(self._state, activations=stack[-self._kept_max :], pinned=pinned, mark=mark))

    def roll_back(self) -> None:
        """Take the last activation off, and pin what was before. Blocks.

        Raises:
            StoreError: `policy.history`; nothing has changed.
        """
        self._change(replace(self._state, activations=self._state.activations[:-1], pinned=True))

    def confirm(self, moment: datetime) -> None:
        """Remember when the source was last confirmed. Blocks.

        Raises:
            StoreError: `policy.history`.
        """
        try:
            self._persist(self._folder, _CONFIRMED, rfc3339(moment).encode())
        except OSError as error:
            raise _fault(f"{self._folder}: {error.strerror}") from error

    def confirmed(self) -> datetime | None:
        """Return when the source was last confirmed; None where nobody knows. Blocks."""
        try:
            moment = datetime.fromisoformat(_bounded(self._folder / _CONFIRMED, 64).decode())
        except (OSError, ValueError):
            return None
        return moment if moment.tzinfo is not None else None

    # --- small parts ---

    def _pruned(self, state: State, newest: str) -> State:
        """Return the state without the oldest entries over the limit; never without what may be in force next."""
        entries = list(state.entries)
        needed = {newest, state.active, state.previous}
        for entry in state.entries:
            if len(entries) <= self._kept_max:
                break
            if entry.digest not in needed:
                entries.remove(entry)
        there = {entry.digest for entry in entries}
        stack = tuple(digest for digest in state.activations if digest in there)
        return replace(state, entries=tuple(entries), activations=_without_repeats(stack))

    def _change(self, state: State, before: Callable[[], None] | None = None) -> None:
        try:
            if before is not None:
                before()
            self._persist(self._folder, HISTORY_NAME, pack_state(state))
        except OSError as error:
            raise _fault(f"{self._folder}: {error.strerror}") from error
        self._state = state
        self._sweep()

    def _persist(self, folder: Path, name: str, content: bytes) -> None:
        descriptor = self._files.open_directory(folder)
        try:
            persist(self._files, folder, descriptor, name, content)
        finally:
            self._files.close(descriptor)

    def _sweep(self) -> None:
        """Remove archives that no entry names; if it fails, the next change does."""
        named = {self._path(entry.archive).name for entry in self._state.entries}
        with suppress(OSError):
            for path in self._archives.iterdir():
                if path.name not in named:
                    path.unlink(missing_ok=True)

    def _path(self, archive: str) -> Path:
        return self._archives / f"{archive.removeprefix('sha256:')}.tar.gz"


def _without_repeats(stack: tuple[str, ...]) -> tuple[str, ...]:
    """Return it without an entry that follows itself: the one between them is gone."""
    return stack[:1] + tuple(after for before, after in pairwise(stack) if after != before)


def _bounded(path: Path, maximum: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(maximum + 1)
    if len(content) > maximum:
        raise ValueError(f"{path.name} is over {maximum} bytes")
    return content


def _fault(message: str) -> StoreError:
    return StoreError(message, code="policy.history")
