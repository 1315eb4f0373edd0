"""Blobs: contents that are too large for a journal, kept by their digest, one store a mission.

    <home>/workspaces/.blobs/<mission>/<64 hex digits>   0600, sealed

A guest, policy and the journal see `{"$blob": "sha256:…", "size": n}`. Whoever knows the reference can have the content
within the mission; in another mission it names nothing. A blob is whole and on the disk before its reference is told,
and is read back with a look at its digest. The same content is kept once. Deleted with the mission.

On the disk it is sealed under the mission's key, and its name there is a tag of its digest under that key, so that
neither tells what the content is to who has the disk alone.
"""

import hashlib
import hmac
import os
import re
import threading
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.values import JsonObject, JsonValue
from gateway.effects.arguments import bytes_fields, invalid, payload
from gateway.effects.failures import file_error
from gateway.effects.limits import EffectLimits, over
from gateway.effects.openat2 import open_beneath
from gateway.effects.rename import rename_into
from gateway.effects.staging import stage
from gateway.errors import EffectError, SecretError
from gateway.vault.mission_key import FORMAT, key_for
from gateway.vault.sealing import NONCE_BYTES, TAG_BYTES, seal_whole, unseal_whole

INLINE_BYTES_MAX: Final = 64 * 1024  # what an outcome, and so a journal and a guest, has of one content
_SEAL_BYTES: Final = NONCE_BYTES + TAG_BYTES  # that a sealed content is longer
BLOBS_FOLDER: Final = ".blobs"
_MEMBER: Final = "$blob"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class BlobReference:
    """What stands for a content."""

    digest: str  # "sha256:…"
    size: int

    @classmethod
    def parse(cls, value: JsonValue) -> "BlobReference":
        """Return the reference that a value is, with these two members and no other.

        Raises:
            EffectError: `effect.arguments`.
        """
        if isinstance(value, Mapping) and value.keys() == {_MEMBER, "size"}:
            digest, size = value[_MEMBER], value["size"]
            if isinstance(digest, str) and _DIGEST.fullmatch(digest) and type(size) is int and size >= 0:
                return cls(digest, size)
        raise invalid('a blob is written {"$blob": "sha256:…", "size": n}')

    def document(self) -> JsonObject:
        """Return it as JSON."""
        return {_MEMBER: self.digest, "size": self.size}


class MissionBlobs:
    """The blobs of one mission. Safe to use from several threads; all calls block."""

    def __init__(self, folders: int, staging: int, mission_id: str, key: bytes) -> None:
        """Describe them: `folders` is the directory of all missions' blobs, `key` the mission's.

        What is there is counted at first use.
        """
        self._folders = folders
        self._staging = staging
        self._mission_id = mission_id
        self._lock = threading.Lock()
        self._sizes: dict[str, int] | None = None  # by name
        self._key = key

    def put(self, content: bytes, limits: EffectLimits) -> BlobReference:
        """Keep a content, durably, and return its reference.

        Raises:
            EffectError: `effect.too_large`, `effect.blobs_full`, or the disk refuses.
        """
        size = len(content)
        if size > limits.blob_bytes_max:
            raise over("blob_bytes_max", limits.blob_bytes_max, "bytes of a blob", code="effect.too_large")
        reference = BlobReference("sha256:" + hashlib.sha256(content).hexdigest(), size)
        name = self._name(reference)
        with self._lock:
            try:
                sizes = self._counted()
                if sizes.get(name) != size:
                    self._claim(sizes, name, size, limits)
                    self._write(name, self._sealed(reference, content))
                    sizes[name] = size
            except OSError as error:
                raise file_error(error, "a blob") from error
        return reference

    @property
    def held_bytes(self) -> int:
        """What the blobs hold that are counted; a mission that is new has none."""
        sizes = self._sizes
        return sum(tuple(sizes.values())) if sizes else 0

    def count(self) -> None:
        """Count what an earlier process has left; where the disk refuses, the next use says so."""
        with self._lock, suppress(OSError):
            self._counted()

    def get(self, reference: BlobReference) -> bytes:
        """Return a content, once its digest is that of the reference.

        Raises:
            EffectError: `effect.blob_unknown`, this mission has none such; `effect.blob_damaged`.
        """
        name = self._name(reference)
        try:
            with ExitStack() as opened:
                folder = open_beneath(self._folders, self._mission_id, _DIRECTORY)
                opened.callback(os.close, folder)
                descriptor = open_beneath(folder, name, os.O_RDONLY)
                with os.fdopen(descriptor, "rb") as file:
                    if os.fstat(descriptor).st_size != reference.size + _SEAL_BYTES:
                        raise _unknown()
                    sealed = file.read(reference.size + _SEAL_BYTES + 1)
        except FileNotFoundError as error:
            raise _unknown() from error
        except OSError as error:
            raise file_error(error, "a blob") from error
        content = self._opened(reference, sealed)
        if "sha256:" + hashlib.sha256(content).hexdigest() != reference.digest:
            raise _damaged()
        return content

    def _name(self, reference: BlobReference) -> str:
        return hmac.digest(key_for(self._key, "blob names"), reference.digest.encode(), "sha256").hex()

    def _sealed(self, reference: BlobReference, content: bytes) -> bytes:
        return seal_whole(self._cipher(), content, self._place(reference), os.urandom(NONCE_BYTES))

    def _opened(self, reference: BlobReference, sealed: bytes) -> bytes:
        try:
            return bytes(unseal_whole(self._cipher(), sealed, self._place(reference)))
        except SecretError as error:
            raise _damaged() from error

    def _place(self, reference: BlobReference) -> tuple[str, ...]:
        return (FORMAT, self._mission_id, "blobs", self._name(reference))

    def _cipher(self) -> AESGCM:
        return AESGCM(key_for(self._key, "blobs"))  # made for each: blobs are large and few, and so are threads

    def _counted(self) -> dict[str, int]:
        """Return the sizes of what is there; an earlier process may have left some."""
        if self._sizes is None:
            sizes: dict[str, int] = {}
            with suppress(FileNotFoundError), ExitStack() as opened:
                folder = open_beneath(self._folders, self._mission_id, _DIRECTORY)
                opened.callback(os.close, folder)
                for name in os.listdir(folder):  # noqa: PTH208 - a descriptor, not a path
                    sizes[name] = os.stat(name, dir_fd=folder, follow_symlinks=False).st_size - _SEAL_BYTES
            self._sizes = sizes
        return self._sizes

    def _claim(self, sizes: Mapping[str, int], name: str, size: int, limits: EffectLimits) -> None:
        others = [each for key, each in sizes.items() if key != name]
        if len(others) + 1 > limits.blobs_max:
            raise over("blobs_max", limits.blobs_max, "blobs of a mission", code="effect.blobs_full")
        if sum(others) + size > limits.blobs_bytes_max:
            raise over("blobs_bytes_max", limits.blobs_bytes_max, "bytes of all blobs", code="effect.blobs_full")

    def _write(self, name: str, content: bytes) -> None:
        with ExitStack() as opened:
            try:
                os.mkdir(self._mission_id, 0o700, dir_fd=self._folders)
                os.fsync(self._folders)
            except FileExistsError:
                pass
            folder = open_beneath(self._folders, self._mission_id, _DIRECTORY)
            opened.callback(os.close, folder)
            staged = stage(self._staging, content, opened)
            rename_into(self._staging, staged, folder, name, replace=True)
            os.fsync(folder)


def content_fields(
    name: str, content: bytes, blobs: MissionBlobs, limits: EffectLimits, masked: Collection[str] = ()
) -> dict[str, JsonValue]:
    """Return how an outcome carries a content: as text or base64, or as the reference of a blob. May block.

    Of one that is `masked`, by its name or by `*`, no blob is kept: its place is empty, until the mask is put there.

    Raises:
        EffectError: it is kept as a blob, and cannot be.
    """
    if len(content) <= INLINE_BYTES_MAX:
        return dict(bytes_fields(name, content))
    if name in masked or "*" in masked:
        return {name: ""}
    return {name: blobs.put(content, limits).document()}


def given_content(args: JsonObject, name: str) -> bytes | BlobReference | None:
    """Return a content that an effect is given: as text or base64, or by its reference; None where there is none.

    Raises:
        EffectError: `effect.arguments`.
    """
    value = args.get(name)
    if not isinstance(value, Mapping):
        return payload(args, name)
    if f"{name}_base64" in args:
        raise invalid(f"{name!r} and '{name}_base64' exclude each other")
    return BlobReference.parse(value)


def _damaged() -> EffectError:
    return EffectError("the content of a blob is not that of its digest", code="effect.blob_damaged")


def _unknown() -> EffectError:
    return EffectError("this mission has no such blob", code="effect.blob_unknown")
