"""Which functions of WASI preview 1 a module may import, with their exact types, and what the ones that do nothing say.

There are no files, no sockets, no environment and no arguments, so most of them answer with an error number whatever
they are asked. Those that do something are in `gateway.sandbox.host`. Source: WASI preview 1,
`wasi_snapshot_preview1.witx`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

MODULE: Final = "wasi_snapshot_preview1"

SUCCESS: Final = 0
BADF: Final = 8
FAULT: Final = 21
INVAL: Final = 28
NOSYS: Final = 52
SPIPE: Final = 70


@dataclass(frozen=True, slots=True)
class WasiFunction:
    """One function: its parameters, and its fixed answer, or None where `gateway.sandbox.host` answers."""

    params: tuple[str, ...]  # "i32" or "i64"
    results: tuple[str, ...]
    answer: int | None

    @property
    def type(self) -> str:
        """The type as `gateway.sandbox.shape` writes it."""
        return f"({' '.join(self.params)}) -> ({' '.join(self.results)})"


def _function(params: str, answer: int | None, results: str = "i32") -> WasiFunction:
    return WasiFunction(tuple(params.split()), tuple(results.split()), answer)


_I3, _I5 = "i32 i32 i32", "i32 i32 i32 i32 i32"

FUNCTIONS: Final[Mapping[str, WasiFunction]] = MappingProxyType(
    {
        "args_get": _function("i32 i32", SUCCESS),  # none, so nothing is written
        "args_sizes_get": _function("i32 i32", None),
        "environ_get": _function("i32 i32", SUCCESS),
        "environ_sizes_get": _function("i32 i32", None),
        "clock_res_get": _function("i32 i32", None),
        "clock_time_get": _function("i32 i64 i32", None),
        "random_get": _function("i32 i32", None),
        "sched_yield": _function("", SUCCESS),
        "proc_exit": _function("i32", None, results=""),
        "proc_raise": _function("i32", NOSYS),
        "poll_oneoff": _function("i32 i32 i32 i32", NOSYS),
        "fd_write": _function("i32 i32 i32 i32", None),
        "fd_fdstat_get": _function("i32 i32", None),
        "fd_seek": _function("i32 i64 i32 i32", None),
        "fd_tell": _function("i32 i32", None),
        "fd_read": _function("i32 i32 i32 i32", BADF),  # standard input is closed
        "fd_advise": _function("i32 i64 i64 i32", BADF),
        "fd_allocate": _function("i32 i64 i64", BADF),
        "fd_close": _function("i32", BADF),
        "fd_datasync": _function("i32", BADF),
        "fd_fdstat_set_flags": _function("i32 i32", BADF),
        "fd_fdstat_set_rights": _function("i32 i64 i64", BADF),
        "fd_filestat_get": _function("i32 i32", BADF),
        "fd_filestat_set_size": _function("i32 i64", BADF),
        "fd_filestat_set_times": _function("i32 i64 i64 i32", BADF),
        "fd_pread": _function("i32 i32 i32 i64 i32", BADF),
        "fd_prestat_get": _function("i32 i32", BADF),  # this is how a program learns that it has no folders
        "fd_prestat_dir_name": _function(_I3, BADF),
        "fd_pwrite": _function("i32 i32 i32 i64 i32", BADF),
        "fd_readdir": _function("i32 i32 i32 i64 i32", BADF),
        "fd_renumber": _function("i32 i32", BADF),
        "fd_sync": _function("i32", BADF),
        "path_create_directory": _function(_I3, BADF),
        "path_filestat_get": _function(_I5, BADF),
        "path_filestat_set_times": _function("i32 i32 i32 i32 i64 i64 i32", BADF),
        "path_link": _function("i32 i32 i32 i32 i32 i32 i32", BADF),
        "path_open": _function("i32 i32 i32 i32 i32 i64 i64 i32 i32", BADF),
        "path_readlink": _function("i32 i32 i32 i32 i32 i32", BADF),
        "path_remove_directory": _function(_I3, BADF),
        "path_rename": _function("i32 i32 i32 i32 i32 i32", BADF),
        "path_symlink": _function(_I5, BADF),
        "path_unlink_file": _function(_I3, BADF),
        "sock_accept": _function(_I3, BADF),
        "sock_recv": _function("i32 i32 i32 i32 i32 i32", BADF),
        "sock_send": _function(_I5, BADF),
        "sock_shutdown": _function("i32 i32", BADF),
    }
)
