"""The process and its surroundings: files that it may open, and the address that it is to listen on."""

import errno
import resource
import socket
from typing import Final

from gateway.config import Config
from gateway.doctor.check import Check, failed, ok, warn
from gateway.errors import ConfigurationError

_FILES_MIN: Final = 512
_FILES_EACH: Final = 2  # a running mission's


def files(config: Config) -> Check:
    """Whether as many files can be open as missions may run; `serve` raises the soft limit to the hard one itself."""
    code, (_, most) = "process.files", resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_MIN + _FILES_EACH * config.limits.missions_running_max
    if most in {resource.RLIM_INFINITY, -1} or most >= wanted:
        return ok(code, f"{most if most > 0 else 'any number of'} files may be open, {wanted} are needed")
    advice = f"raise RLIMIT_NOFILE (LimitNOFILE={wanted} in the unit), or lower limits.missions_running_max"
    if most < _FILES_MIN:
        return failed(code, f"only {most} files may be open", advice)
    return warn(code, f"{most} files may be open, and {wanted} would be needed", advice)


def address(config: Config) -> Check:
    """Whether the configured address may be listened on, and is free or a gateway's own."""
    code = "process.address"
    try:
        config.check_listen()
    except ConfigurationError as error:
        return failed(code, error.message, "docs/configuration.md, listen")
    host, _, port = config.listen.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, where = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return warn(code, f"{config.listen} is in use", "this gateway, if it runs; ss -ltnp says whose it is")
        return failed(code, f"{config.listen}: {error.strerror}", "choose another address")
    return ok(code, f"{config.listen} is free")
