"""An ssh-agent with one Ed25519 key: litewitness signs by one, and holds no key itself.

Source: draft-ietf-sshm-ssh-agent (messages), RFC 8709 (Ed25519 keys and signatures).
"""

import base64
import hashlib
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_KIND = b"ssh-ed25519"
_FAILURE, _ASK_IDENTITIES, _IDENTITIES, _ASK_SIGNATURE, _SIGNATURE = 5, 11, 12, 13, 14


def fingerprint(key: Ed25519PrivateKey) -> str:
    """Return what `ssh-keygen -l` calls the key."""
    digest = hashlib.sha256(_public(key)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@contextmanager
def agent(key: Ed25519PrivateKey, path: Path) -> Iterator[None]:
    """Serve `key` on the Unix socket `path` for as long as the block lasts."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while len(head := self.rfile.read(4)) == 4:
                message = self.rfile.read(struct.unpack(">I", head)[0])
                self.wfile.write(_string(_answer(key, message)))

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def _answer(key: Ed25519PrivateKey, message: bytes) -> bytes:
    if message[0] == _ASK_IDENTITIES:
        return bytes([_IDENTITIES]) + struct.pack(">I", 1) + _string(_public(key)) + _string(b"")
    if message[0] == _ASK_SIGNATURE:
        blob, rest = _take(message[1:])
        data, _ = _take(rest)
        if blob == _public(key):
            return bytes([_SIGNATURE]) + _string(_string(_KIND) + _string(key.sign(data)))
    return bytes([_FAILURE])


def _public(key: Ed25519PrivateKey) -> bytes:
    return _string(_KIND) + _string(key.public_key().public_bytes_raw())


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _take(raw: bytes) -> tuple[bytes, bytes]:
    end = 4 + struct.unpack(">I", raw[:4])[0]
    return raw[4:end], raw[end:]
