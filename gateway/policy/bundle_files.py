"""Reads the files of a bundle, from a folder or from a tar.gz, within bounds; writes them as one archive again.

What comes back is the content byte for byte, by name: relative, with /, as a person would write it. Nothing is
unpacked to a disk. An archive is read by a reader of its own, which knows the plain forms that `opa build`, `tar` and
`git archive` write and refuses the rest: where two readers of one archive can see two different bundles, a gateway and
the OPA beside it may as well.

Source: POSIX.1-2017 pax, "ustar Interchange Format"; RFC 1952 for gzip.
"""

import io
import os
import stat
import tarfile
import unicodedata
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from gateway.errors import PolicyInvalidError

FILES_MAX: Final = 256
ENTRIES_MAX: Final = 1_024  # of an archive, or of a folder: directories and headers without content too
FILE_BYTES_MAX: Final = 256 * 1024  # of a policy; it is parsed
DATA_BYTES_MAX: Final = 8 * 1024 * 1024  # of any other file
RULES_BYTES_MAX: Final = 4 * 1024 * 1024  # all policies together: vetting takes seconds for each MiB
BUNDLE_BYTES_MAX: Final = 32 * 1024 * 1024  # all files together
ARCHIVE_BYTES_MAX: Final = 16 * 1024 * 1024  # as it travels
NAME_CHARS_MAX: Final = 255
NAME_PARTS_MAX: Final = 16

_BLOCK: Final = 512
_ZEROS: Final = bytes(_BLOCK)
_TAR_BYTES_MAX: Final = BUNDLE_BYTES_MAX + (ENTRIES_MAX + 64) * 2 * _BLOCK  # headers, padding and the end
_REGULAR: Final = frozenset({b"0", b"\0"})
_DIRECTORY: Final = b"5"
_EXTENDED, _GLOBAL = b"x", b"g"  # pax records, for the next entry or for all
_PAX_BYTES_MAX: Final = 16 * 1024
_PAX_DIGITS_MAX: Final = 5
# Records that change nothing that is read here. `size`, `GNU.sparse.*` and whatever is not known are refused.
_PAX_IGNORED: Final = frozenset({"mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment"})
_GZIP: Final = 16 + zlib.MAX_WBITS


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below `folder`, by name, sorted.

    Raises:
        PolicyInvalidError: `policy.no_bundle`, `policy.bad_file` (a link, a device, a name), `policy.too_large`,
            `policy.unreadable`; `file` says which.
    """
    if not folder.is_dir():
        raise PolicyInvalidError("there is no such folder", code="policy.no_bundle", file=str(folder))
    files = _Files(str(folder))
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        files.count(name)
        if path.is_symlink():
            raise PolicyInvalidError("a bundle has no links", code="policy.bad_file", file=name)
        if path.is_dir():
            files.add_directory(name)
        else:
            files.add(name, _read(path, name))
    return files.sorted()


def read_archive(archive: bytes) -> dict[str, bytes]:
    """Return the content of every file of a tar.gz, by name, sorted; a leading `/` or `./` is taken off.

    Raises:
        PolicyInvalidError: `policy.bad_archive` (no gzip, no tar, damaged, truncated, something after its end, a form
            that is not read), `policy.bad_file`, `policy.too_large`.
    """
    if len(archive) > ARCHIVE_BYTES_MAX:
        raise PolicyInvalidError(f"the archive is over {ARCHIVE_BYTES_MAX} bytes", code="policy.too_large")
    files = _Files("the archive")
    for kind, name, content in _entries(_inflate(archive)):
        if kind == _DIRECTORY:
            if name.strip("/") not in {"", "."}:
                files.add_directory(_relative(name.rstrip("/")))
        else:
            files.add(_relative(name), content)
    return files.sorted()


def read_path(path: Path) -> dict[str, bytes]:
    """Return the files of a folder, or of a tar.gz, by name.

    Raises:
        PolicyInvalidError: as `read_folder` and `read_archive`.
    """
    return read_folder(path) if path.is_dir() else read_archive(read_archive_file(path))


def read_archive_file(path: Path) -> bytes:
    """Return the bytes of an archive, whatever is in it.

    Raises:
        PolicyInvalidError: `policy.no_bundle`, `policy.unreadable`, `policy.too_large`.
    """
    try:
        if not path.is_file():
            raise PolicyInvalidError("there is no such file", code="policy.no_bundle", file=str(path))
        with path.open("rb") as file:
            archive = file.read(ARCHIVE_BYTES_MAX + 1)
    except OSError as error:
        message = error.strerror or "unreadable"
        raise PolicyInvalidError(message, code="policy.unreadable", file=str(path)) from error
    if len(archive) > ARCHIVE_BYTES_MAX:
        raise PolicyInvalidError(
            f"the archive is over {ARCHIVE_BYTES_MAX} bytes", code="policy.too_large", file=str(path)
        )
    return archive


def write_archive(files: Mapping[str, bytes]) -> bytes:
    """Return the files as a tar.gz that depends on nothing but them: sorted, without owner or time.

    `read_archive` gives them back, and OPA reads it too.

    Raises:
        PolicyInvalidError: `policy.too_large`.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
    packer = zlib.compressobj(wbits=_GZIP)  # with no time in its header
    archive = packer.compress(out.getvalue()) + packer.flush()
    if len(archive) > ARCHIVE_BYTES_MAX:
        raise PolicyInvalidError(f"the archive is over {ARCHIVE_BYTES_MAX} bytes", code="policy.too_large")
    return archive


class _Files:
    """What was found so far, in which no two names may be taken for one another."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._files: dict[str, bytes] = {}
        self._seen: dict[str, tuple[str, bool]] = {}  # folded name to (name, whether it is a directory)
        self._bytes = self._rules_bytes = 0
        self._entries = 0

    def count(self, name: str) -> None:
        """Count an entry, before anything of it is read."""
        self._entries += 1
        if self._entries > ENTRIES_MAX:
            raise PolicyInvalidError(f"more than {ENTRIES_MAX} entries", code="policy.too_large", file=name)

    def add_directory(self, name: str) -> None:
        """Take note of a directory."""
        check_name(name)
        self._claim(name, directory=True)

    def add(self, name: str, content: bytes) -> None:
        """Take a file."""
        check_name(name)
        if len(self._files) >= FILES_MAX:
            raise PolicyInvalidError(f"more than {FILES_MAX} files", code="policy.too_large", file=self._where)
        if len(content) > (maximum := bytes_max(name)):
            raise PolicyInvalidError(f"is over {maximum} bytes", code="policy.too_large", file=name)
        self._bytes += len(content)
        self._rules_bytes += len(content) if name.endswith(".rego") else 0
        if self._bytes > BUNDLE_BYTES_MAX:
            raise PolicyInvalidError(f"over {BUNDLE_BYTES_MAX} bytes", code="policy.too_large", file=self._where)
        if self._rules_bytes > RULES_BYTES_MAX:
            message = f"over {RULES_BYTES_MAX} bytes of policies"
            raise PolicyInvalidError(message, code="policy.too_large", file=self._where)
        if name in self._files:
            raise PolicyInvalidError("is there twice", code="policy.bad_file", file=name)
        self._claim(name, directory=False)
        self._files[name] = content

    def _claim(self, name: str, *, directory: bool) -> None:
        """Refuse a name that a file system or a reader could take for another one, or for one of another kind."""
        parts = name.split("/")
        for end in range(1, len(parts) + 1):
            part, inner = "/".join(parts[:end]), directory or end < len(parts)
            other = self._seen.setdefault(unicodedata.normalize("NFKC", part).casefold(), (part, inner))
            if other != (part, inner):
                message = f"cannot be told from {other[0]!r} everywhere"
                raise PolicyInvalidError(message, code="policy.bad_file", file=name)

    def sorted(self) -> dict[str, bytes]:
        """Return the files by name."""
        return dict(sorted(self._files.items()))


def bytes_max(name: str) -> int:
    """Return how large the file may be."""
    return FILE_BYTES_MAX if name.endswith(".rego") else DATA_BYTES_MAX


def check_name(name: str) -> None:
    """Refuse a name that leads out of the bundle, or that not every reader takes as it is.

    Raises:
        PolicyInvalidError: `policy.bad_file`.
    """

    def refuse(why: str) -> PolicyInvalidError:
        shown = name[:NAME_CHARS_MAX].encode("utf-8", "backslashreplace").decode()
        return PolicyInvalidError(f"the name {shown!r} {why}", code="policy.bad_file", file=shown)

    parts = name.split("/")
    if len(name) > NAME_CHARS_MAX or len(parts) > NAME_PARTS_MAX:
        raise refuse(f"is over {NAME_CHARS_MAX} characters or {NAME_PARTS_MAX} parts")
    if any(part in {"", ".", ".."} for part in parts):
        raise refuse('has an empty part, "." or ".."')
    if not name.isprintable() or "\\" in name:
        raise refuse("has a backslash or a character that does not print")
    if not unicodedata.is_normalized("NFC", name):
        raise refuse("is not in Unicode's normal form C")


def _read(path: Path, name: str) -> bytes:
    """Return a regular file's content, whatever has become of its path since it was listed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PolicyInvalidError("is no regular file", code="policy.bad_file", file=name)
            return file.read(bytes_max(name) + 1)
    except OSError as error:
        raise PolicyInvalidError(error.strerror or "unreadable", code="policy.unreadable", file=name) from error


def _bad(why: str) -> PolicyInvalidError:
    return PolicyInvalidError(why, code="policy.bad_archive")


def _inflate(archive: bytes) -> bytes:
    """Return the tar of a tar.gz: one gzip member, whole, and nothing after it."""
    unpacker = zlib.decompressobj(wbits=_GZIP)
    try:
        tar = unpacker.decompress(archive, _TAR_BYTES_MAX + 1)
    except zlib.error as error:
        raise _bad(f"is no gzip, or a damaged one: {error}") from error
    if len(tar) > _TAR_BYTES_MAX:
        raise PolicyInvalidError(f"unpacks to over {_TAR_BYTES_MAX} bytes", code="policy.too_large")
    if not unpacker.eof:
        raise _bad("is truncated")
    if unpacker.unused_data:
        raise _bad("has something after its end")
    return tar


def _entries(tar: bytes) -> Iterator[tuple[bytes, str, bytes]]:
    """Yield (kind, name, content) of each file and directory."""
    at, renamed, found = 0, "", 0
    while True:
        header = tar[at : at + _BLOCK]
        if len(header) < _BLOCK:
            raise _bad("is truncated: the end of the tar is missing")
        if header == _ZEROS:
            break
        found += 1
        if found > ENTRIES_MAX:
            raise PolicyInvalidError(f"more than {ENTRIES_MAX} entries", code="policy.too_large")
        kind, name, size = _header(header)
        end = at + _BLOCK + size
        content = tar[at + _BLOCK : end]
        at = end + -size % _BLOCK
        if at > len(tar):
            raise _bad("is truncated inside a file")
        if kind in {_EXTENDED, _GLOBAL}:
            renamed = _pax(content, renamed, named=kind == _EXTENDED)
            continue
        yield kind, renamed or name, content
        renamed = ""
    if renamed or len(tar) - at < 2 * _BLOCK or tar.count(0, at) != len(tar) - at:
        raise _bad("does not end as a tar does")


def _header(header: bytes) -> tuple[bytes, str, int]:
    """Return (kind, name, size) of a header block."""
    if header[257:265] not in {b"ustar\x0000", b"ustar  \0"}:
        raise _bad("has a header that is no ustar header")
    total = sum(header) - sum(header[148:156]) + 8 * 0x20
    if _octal(header[148:156]) != total:
        raise _bad("has a header with a wrong checksum")
    kind, size = header[156:157], _octal(header[124:136])
    if kind not in _REGULAR | {_DIRECTORY, _EXTENDED, _GLOBAL}:
        message = (
            f"has an entry of type {kind!r}; files, directories and pax headers are read, links and others are not"
        )
        raise PolicyInvalidError(message, code="policy.bad_file", file=_text(header[0:100]))
    if size > {_DIRECTORY: 0, _EXTENDED: _PAX_BYTES_MAX, _GLOBAL: _PAX_BYTES_MAX}.get(kind, _TAR_BYTES_MAX):
        raise _bad("has an entry whose size its type does not allow")
    posix = header[262:263] == b"\0"
    if header[500 if posix else 345 :].strip(b"\0"):  # star's shorter prefix; GNU's times, which Go may take for one
        raise _bad("has a header with something in a place that readers take for different things")
    name, prefix = _text(header[0:100]), _text(header[345:500]) if posix else ""
    return kind, f"{prefix}/{name}" if prefix else name, size


def _text(field: bytes) -> str:
    """Return a header's text: UTF-8, to the first NUL, with nothing but NULs after it."""
    text, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        raise _bad("has a name with something after its end")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise _bad("has a name that is not UTF-8") from error


def _octal(field: bytes) -> int:
    """Return a header's number; other forms than octal digits exist for sizes that no bundle has."""
    digits = field.strip(b" \0")
    if not digits or not digits.isdigit() or digits.strip(b"01234567"):
        raise _bad("has a header with a number that is not octal")
    return int(digits, 8)


def _pax(content: bytes, renamed: str, *, named: bool) -> str:
    """Return the name that a pax header gives the next entry, or `renamed`; records are `<length> <key>=<value>LF`."""
    while content:
        digits, space, _ = content.partition(b" ")
        if not space or len(digits) > _PAX_DIGITS_MAX or not digits.isdigit():
            raise _bad("has a pax header that is none")
        record, content = content[: int(digits)], content[int(digits) :]
        key, equals, value = record[len(digits) + 1 :].partition(b"=")
        if len(record) != int(digits) or not equals or not value.endswith(b"\n"):
            raise _bad("has a pax header that is none")
        if key == b"path" and named and not renamed:
            renamed = _text(value[:-1])
            if not renamed or b"\0" in value:
                raise _bad("has a pax header with a name that is none")
        elif key.decode("utf-8", "replace") not in _PAX_IGNORED:
            raise _bad(f"has a pax record {key[:64]!r}, which is not read")
    return renamed


def _relative(name: str) -> str:
    """Return a name as it counts: OPA writes a leading `/`, and `tar -C folder .` a leading `./`."""
    return name[2:] if name.startswith("./") else name.removeprefix("/")
