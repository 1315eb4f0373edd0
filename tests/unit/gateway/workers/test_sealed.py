import os

import pytest

from gateway.workers.sealed import seal, unseal


@pytest.mark.parametrize("data", [b"", b"x", b"y" * 300_000])
def test_sealed_bytes_come_back(data: bytes) -> None:
    """What was sealed is what is read."""
    fd = seal("test", data)
    try:
        assert unseal(fd) == data
    finally:
        os.close(fd)


def test_sealed_memory_cannot_be_written() -> None:
    """Not even its maker changes it: a worker may trust what it maps."""
    fd = seal("test", b"code")
    try:
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"evil", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def test_unsealed_memory_is_refused() -> None:
    """Memory that somebody could still change is not read at all."""
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    try:
        os.write(fd, b"code")
        with pytest.raises(ValueError, match="not sealed"):
            unseal(fd)
    finally:
        os.close(fd)
