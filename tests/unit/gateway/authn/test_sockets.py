"""Directories of sockets."""

import os
import socket as sockets
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.authn.sockets import PATH_BYTES_MAX, SOCKET_NAME, Socket, prepare
from gateway.errors import ConfigurationError
from gateway.identity import Principal

ANN = Principal(subject="ann", tenant="default")


def listening(path: Path) -> sockets.socket:
    one = sockets.socket(sockets.AF_UNIX)
    one.bind(str(path))
    return one


def refused(folder: Path) -> str:
    with ExitStack() as stack, pytest.raises(ConfigurationError) as caught:
        prepare(stack, [Socket(folder=folder, principal=ANN)])
    assert caught.value.code == "config.socket"
    return caught.value.message


def test_a_directory_is_made_and_is_the_gateways_alone(tmp_path: Path) -> None:
    """Mode 0700, whatever the umask; what was left there goes at the end, with the lock."""
    before = os.umask(0)
    try:
        with ExitStack() as stack:
            prepare(stack, [Socket(folder=tmp_path / "ann", principal=ANN)])
            assert (tmp_path / "ann").stat().st_mode & 0o777 == 0o700
            assert "another gateway" in refused(tmp_path / "ann")
            listening(tmp_path / "ann" / SOCKET_NAME).close()
    finally:
        os.umask(before)
    assert list((tmp_path / "ann").iterdir()) == []
    with ExitStack() as stack:
        prepare(stack, [Socket(folder=tmp_path / "ann", principal=ANN)])


def test_what_a_killed_gateway_has_left_is_taken_away(tmp_path: Path) -> None:
    """A socket that nobody listens at; anything else of its name is not ours to remove."""
    folder = tmp_path / "ann"
    folder.mkdir(mode=0o700)
    listening(folder / SOCKET_NAME).close()
    with ExitStack() as stack:
        prepare(stack, [Socket(folder=folder, principal=ANN)])
        assert not (folder / SOCKET_NAME).exists()
    (folder / SOCKET_NAME).write_text("a file of somebody's")
    assert "is no socket" in refused(folder)
    assert (folder / SOCKET_NAME).read_text() == "a file of somebody's"


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    """Whoever may enter it is the principal; nor is a link to a good one, or a path that the kernel would cut."""
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o700)
    open_to_all.chmod(0o710)
    assert "mode 0700" in refused(open_to_all)
    good = tmp_path / "good"
    good.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(good)
    assert "cannot be made or opened" in refused(tmp_path / "link")
    assert "over 107 bytes" in refused(tmp_path / ("x" * PATH_BYTES_MAX))
    assert "cannot be made" in refused(tmp_path / "missing" / "ann")
