"""What ends a run that is late: one-shot timers that increment the engine's epoch.

`NativeTimer` needs no interpreter: the C library's own timer thread calls `wasmtime_engine_increment_epoch`, so a
deadline holds however busy Python is. `ThreadTimer` is the fallback where that cannot be had; it waits for the
interpreter's lock. A tick may be late enough to meet the *next* run: the runtime recognises one that came before its
time and repeats the run. Source: timer_create(2), SIGEV_THREAD.
"""

import ctypes
import threading
from typing import Final, Protocol

from wasmtime import Engine

from gateway.sandbox import native

_CLOCK_MONOTONIC: Final = 1
_SIGEV_THREAD: Final = 2
_THREAD_STACK_BYTES: Final = 128 * 1024
_ATTRIBUTES_BYTES: Final = 256  # sizeof(pthread_attr_t) is 56 on x86-64, 64 on aarch64


class Timer(Protocol):
    """Increments an engine's epoch once, unless disarmed."""

    def arm(self, wall_us: int) -> None:
        """Tick `wall_us` microseconds from now."""

    def disarm(self) -> None:
        """Tick no more; one that is under way may still come."""


class _SigEvent(ctypes.Structure):
    """`struct sigevent` of glibc and musl, 64 bits."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("reserved", ctypes.c_char * 32),
    )


class NativeTimer:
    """A POSIX timer. The engine is kept alive for good: a tick may be on its way when everything else is gone."""

    def __init__(self, engine: Engine) -> None:
        """Create the timer, in the process that uses it: timers do not survive a fork.

        Raises:
            OSError: there is no such timer here.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            create, self._settime = libc.timer_create, libc.timer_settime
        except AttributeError as error:
            raise OSError("the C library has no POSIX timers") from error
        function, argument = native.epoch_tick(engine)
        attributes = ctypes.create_string_buffer(_ATTRIBUTES_BYTES)
        libc.pthread_attr_init(attributes)
        libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(_THREAD_STACK_BYTES))
        event = _SigEvent(
            value=argument, notify=_SIGEV_THREAD, function=function, attributes=ctypes.addressof(attributes)
        )
        timer = ctypes.c_void_p()
        if create(_CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)) != 0:
            raise OSError(ctypes.get_errno(), "timer_create failed")
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))
        self._settime.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self._timer = timer.value
        self._time = (ctypes.c_long * 4)()  # struct itimerspec: interval s, ns; value s, ns
        self._never = (ctypes.c_long * 4)()
        self._time_at, self._never_at = ctypes.addressof(self._time), ctypes.addressof(self._never)

    def arm(self, wall_us: int) -> None:
        """Tick `wall_us` microseconds from now.

        Raises:
            OSError: the kernel refused; the run must not begin.
        """
        self._time[2], self._time[3] = wall_us // 1_000_000, wall_us % 1_000_000 * 1000
        if self._settime(self._timer, 0, self._time_at, None) != 0:
            raise OSError(ctypes.get_errno(), "timer_settime failed")

    def disarm(self) -> None:
        """Tick no more; one that is under way may still come."""
        self._settime(self._timer, 0, self._never_at, None)


class ThreadTimer:
    """A Python thread a run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread: threading.Timer | None = None

    def arm(self, wall_us: int) -> None:
        """Tick `wall_us` microseconds from now, or when the interpreter is free."""
        self._thread = threading.Timer(wall_us / 1_000_000, self._engine.increment_epoch)
        self._thread.daemon = True
        self._thread.start()

    def disarm(self) -> None:
        """Tick no more; one that is under way may still come."""
        if self._thread is not None:
            self._thread.cancel()


def make_timer(engine: Engine) -> Timer:
    """Return the best timer that can be had here."""
    if native.supported():
        try:
            return NativeTimer(engine)
        except OSError:
            return ThreadTimer(engine)
    return ThreadTimer(engine)
