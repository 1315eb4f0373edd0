"""What the kernel says about files, as effect errors with stable codes."""

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.errors import EffectError

_REASONS: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        errno.ELOOP: ("effect.path_refused", "the path leads through a link"),
        errno.EXDEV: ("effect.path_refused", "the path leads out of the workspace"),
        errno.ENOENT: ("effect.not_found", "there is no such file"),
        errno.ENOTDIR: ("effect.not_a_directory", "a part of the path is not a directory"),
        errno.EEXIST: ("effect.file_exists", "the file exists, and mode is create"),
        errno.EISDIR: ("effect.not_regular", "this is not a regular file"),
        errno.ENXIO: ("effect.not_regular", "this is not a regular file"),
        errno.ENODEV: ("effect.not_regular", "this is not a regular file"),
        errno.ENAMETOOLONG: ("effect.path_invalid", "the path is too long"),
        errno.EINVAL: ("effect.path_invalid", "the path is not valid here"),
        errno.ENOSPC: ("effect.disk_full", "the disk is full"),
        errno.EDQUOT: ("effect.disk_full", "the disk quota is used up"),
        errno.EMFILE: ("effect.overloaded", "the gateway has too many files open"),
        errno.ENFILE: ("effect.overloaded", "the system has too many files open"),
        errno.EAGAIN: ("effect.path_busy", "the path changed while it was opened"),
    }
)


def file_error(error: OSError, path: str, *, in_doubt: bool = False) -> EffectError:
    """Return `error` about the workspace path `path` as an effect error; what is not listed is `effect.io`."""
    code, message = _REASONS.get(error.errno or 0, ("effect.io", "the file system failed"))
    return EffectError(f"{path!r}: {message}", code=code, in_doubt=in_doubt)
