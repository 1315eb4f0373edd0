"""file.write and file.read: whole regular files inside the mission's workspace.

A write is seen complete or not at all, and after a crash too:

1. the parent is opened beneath the workspace, and made where it is missing;
2. the content goes to a file in the staging directory and to the disk (fsync);
3. renameat2 moves the file to its name, refusing a taken one in mode `create`; a write whose caller has given up
   ends here, so that no file appears after its step was told to have failed, or over a later step's;
4. the parent goes to the disk (fsync), and only then the outcome is told.

A failure after (3) leaves a file whose survival nobody can promise: in mode `create` that is in doubt, in mode
`replace` it may simply be done again.
"""

import asyncio
import errno
import hashlib
import os
import stat
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from engine.values import JsonObject
from gateway.effects.arguments import invalid, only_fields, text
from gateway.effects.blobs import BlobReference, content_fields, given_content
from gateway.effects.blocking import BlockingPool, DeadlineError
from gateway.effects.failures import file_error
from gateway.effects.limits import EffectLimits, over
from gateway.effects.openat2 import open_beneath
from gateway.effects.paths import WorkspacePath
from gateway.effects.performer import SECONDS_MAX, EffectRequest, EffectScope
from gateway.effects.rename import rename_into
from gateway.effects.staging import stage
from gateway.effects.workspace import Usage, Workspace
from gateway.errors import EffectError

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
_TOO_LARGE: Final = "effect.too_large"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLimits:
    """What one file effect may move. Every field is a maximum."""

    write_bytes_max: int = 64 * 1024 * 1024  # what is in memory as a whole; policy's data has less
    read_bytes_max: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _WriteOrder:
    """The checked arguments of file.write, and a turn that the thread takes to place it, or its caller to stop that."""

    path: WorkspacePath
    content: bytes | BlobReference
    replace: bool
    limits: EffectLimits
    turn: threading.Lock = field(default_factory=threading.Lock)  # never released

    def take_turn(self) -> bool:
        """Return whether nobody had taken it."""
        return self.turn.acquire(blocking=False)


class FileWrite:
    """Creates or atomically replaces a file: `{path, content | content_base64, mode}`; content may be a blob."""

    seconds_max = SECONDS_MAX

    def __init__(self, pool: BlockingPool, limits: FileLimits) -> None:
        self._pool = pool
        self._limits = limits

    def repeatable(self, args: JsonObject) -> bool:
        """Return whether the mode is `replace`: creating twice is a failure the second time."""
        return args.get("mode") == "replace"

    async def perform(self, request: EffectRequest, scope: EffectScope) -> JsonObject:
        """Write the file; return `{path, bytes, sha256}`."""
        order = self._parse(request.args, scope.limits)
        try:
            return await self._pool.run(lambda: _write(scope.workspace, order), timeout_seconds=request.timeout_seconds)
        except DeadlineError as err:
            in_doubt = not order.take_turn() and not order.replace
            raise EffectError(err.message, code=err.code, in_doubt=in_doubt) from err
        except asyncio.CancelledError:
            order.take_turn()
            raise

    def _parse(self, args: JsonObject, limits: EffectLimits) -> "_WriteOrder":
        only_fields(args, {"path", "content", "content_base64", "mode"})
        content = given_content(args, "content")
        if content is None:
            raise invalid("'content' or 'content_base64' is required")
        bytes_max = min(self._limits.write_bytes_max, limits.file_write_bytes_max)
        if (content.size if isinstance(content, BlobReference) else len(content)) > bytes_max:
            raise over("file_write_bytes_max", bytes_max, "bytes of a file that is written", code=_TOO_LARGE)
        mode = text(args, "mode", default="create")
        if mode not in {"create", "replace"}:
            raise invalid("'mode' must be 'create' or 'replace'")
        path = WorkspacePath.parse(text(args, "path"))
        if len(path.parents) >= limits.workspace_depth_max:
            raise over("workspace_depth_max", limits.workspace_depth_max, "components of a path")
        return _WriteOrder(path, content, mode == "replace", limits)


class FileRead:
    """Reads a whole regular file: `{path}`."""

    seconds_max = SECONDS_MAX

    def __init__(self, pool: BlockingPool, limits: FileLimits) -> None:
        self._pool = pool
        self._limits = limits

    def repeatable(self, _args: JsonObject) -> bool:
        """Return True: reading changes nothing."""
        return True

    async def perform(self, request: EffectRequest, scope: EffectScope) -> JsonObject:
        """Read the file; return `{path, bytes, sha256, content}`, with `content_base64` where it is not UTF-8.

        A content over `INLINE_BYTES_MAX` is a blob.
        """
        only_fields(request.args, {"path"})
        path = WorkspacePath.parse(text(request.args, "path"))
        bytes_max = min(self._limits.read_bytes_max, scope.limits.file_read_bytes_max)
        return await self._pool.run(
            lambda: _read_fields(scope, path, bytes_max), timeout_seconds=request.timeout_seconds
        )


def _read_fields(scope: EffectScope, path: WorkspacePath, bytes_max: int) -> JsonObject:
    """Return the outcome of reading a file."""
    content = _read(scope.workspace, path, bytes_max)
    digest = hashlib.sha256(content).hexdigest()
    fields = content_fields("content", content, scope.workspace.blobs, scope.limits, scope.masked)
    return {"path": path.text, "bytes": len(content), "sha256": digest, **fields}


def _read(workspace: Workspace, path: WorkspacePath, bytes_max: int) -> bytes:
    """Return the content of a regular file that has no second name, at most `bytes_max`."""
    try:
        with workspace.hold() as held, ExitStack() as opened:
            descriptor = open_beneath(held.root, path.text, os.O_RDONLY)
            opened.callback(os.close, descriptor)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise EffectError(f"{path.text!r}: this is not a regular file", code="effect.not_regular")
            if status.st_nlink > 1:  # effects make no hard links, so the other name may be outside
                raise EffectError(f"{path.text!r}: the file has a second name", code="effect.path_refused")
            content = _read_up_to(descriptor, bytes_max + 1)
    except OSError as err:
        raise file_error(err, path.text) from err
    if len(content) > bytes_max:
        raise over("file_read_bytes_max", bytes_max, f"{path.text!r}: bytes of a file that is read", code=_TOO_LARGE)
    return content


def _read_up_to(descriptor: int, count: int) -> bytes:
    """Return the first `count` bytes, or all; what fstat said is no promise about a file that grows."""
    chunks: list[bytes] = []
    while count > 0 and (chunk := os.read(descriptor, count)):
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)


def _write(workspace: Workspace, order: _WriteOrder) -> JsonObject:
    """Steps 1 to 4 of the module; the quota is claimed before and given back if the file is not placed.

    A blob is read here, where few calls are at work: those that wait for a thread hold its reference only.
    """
    content = workspace.blobs.get(order.content) if isinstance(order.content, BlobReference) else order.content
    size = len(content)
    workspace.usage.claim(entries=1, size_bytes=size, limits=order.limits)
    placed = False
    try:
        with workspace.hold() as held, ExitStack() as opened:
            parent = _open_parent(held.root, order, workspace.usage)  # (1)
            opened.callback(os.close, parent)
            staged = stage(held.staging, content, opened)  # (2)
            with workspace.placing:
                replaced = _size_of_target(parent, order)
                if not order.take_turn():
                    raise DeadlineError("the time for this effect was over")
                rename_into(held.staging, staged, parent, order.path.name, replace=order.replace)  # (3)
                placed = True
            if replaced is not None:
                workspace.usage.release(entries=1, size_bytes=replaced)
            os.fsync(parent)  # (4)
    except OSError as err:
        raise file_error(err, order.path.text, in_doubt=placed and not order.replace) from err
    finally:
        if not placed:
            workspace.usage.release(entries=1, size_bytes=size)
    return {"path": order.path.text, "bytes": size, "sha256": hashlib.sha256(content).hexdigest()}


def _open_parent(root: int, order: _WriteOrder, usage: Usage) -> int:
    """Open the directory of a file, making what is missing one component at a time."""
    parents = order.path.parents
    try:
        return open_beneath(root, "/".join(parents) or ".", _DIRECTORY)
    except FileNotFoundError:
        pass
    current = os.dup(root)
    for name in parents:
        try:
            _make_directory(current, name, usage, order.limits)
            following = open_beneath(current, name, _DIRECTORY)
        finally:
            os.close(current)
        current = following
    return current


def _make_directory(parent: int, name: str, usage: Usage, limits: EffectLimits) -> None:
    """Make one directory, durably, if it is not there; `mkdirat` does not follow a link of that name."""
    usage.claim(entries=1, directories=1, size_bytes=0, limits=limits)
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except OSError as err:
        usage.release(entries=1, directories=1, size_bytes=0)
        if err.errno != errno.EEXIST:
            raise
    else:
        os.fsync(parent)


def _size_of_target(parent: int, order: _WriteOrder) -> int | None:
    """Return the size of the regular file that is about to be replaced, or None where there is none."""
    if not order.replace:
        return None
    try:
        status = os.stat(order.path.name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise EffectError(f"{order.path.text!r}: only a regular file can be replaced", code="effect.not_regular")
    return status.st_size
