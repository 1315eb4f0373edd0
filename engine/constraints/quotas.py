"""Cumulative quotas: what one principal may use in a window of time, over all its runs.

    a window begins with the first use after the one before has ended ──window_seconds──▶ it ends, and all is free again

A quota is looked at before a run and charged after it. So runs that are under way when it is used up are not stopped,
and may pass it by what they are granted together; that is bounded by how many may run at once.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from engine.clock import Clock
from engine.constraints.errors import InvalidConfigurationError, ResourceExhaustedError
from engine.values import JsonValue

K = TypeVar("K", bound=Hashable)

PRINCIPALS_MAX: Final = 65_536
WINDOW_SECONDS_CEILING: Final = 31 * 86_400
_AMOUNT_CEILING: Final = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What may be used in one window.

    Raises:
        InvalidConfigurationError: a field is no positive integer, or too large.
    """

    window_seconds: int = 3_600
    runs_max: int = 10_000_000
    cpu_ms_max: int = 36_000_000  # of the CPU allocation: fuel by FUEL_PER_MS, so the same on every machine

    def __post_init__(self) -> None:
        """Check every field."""
        for name, ceiling in (
            ("window_seconds", WINDOW_SECONDS_CEILING),
            ("runs_max", _AMOUNT_CEILING),
            ("cpu_ms_max", _AMOUNT_CEILING),
        ):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= ceiling:
                raise InvalidConfigurationError(f"{name} must be an integer from 1 to {ceiling}")


class _Account:
    """What a principal has used in its present window."""

    __slots__ = ("began", "cpu_us", "runs")

    def __init__(self, began: float) -> None:
        self.began = began
        self.runs = 0
        self.cpu_us = 0


class Quotas(Generic[K]):
    """The accounts of all principals that have used something in a window that has not ended.

    There are at most `principals_max`. Where all of them are in their windows a newcomer is refused until the oldest
    window ends: forgetting an account would give its owner everything anew.
    """

    def __init__(self, quota: Quota, clock: Clock, *, principals_max: int = PRINCIPALS_MAX) -> None:
        self._quota = quota
        self._cpu_us_max = quota.cpu_ms_max * 1_000
        self._clock = clock
        self._principals_max = principals_max
        self._accounts: OrderedDict[K, _Account] = OrderedDict()  # the window that began first at the front
        self._refused = 0

    def __len__(self) -> int:
        return len(self._accounts)

    def adopt(self, quota: Quota) -> None:
        """From now on hold every principal to this quota; what was used in the present windows stays used."""
        self._quota, self._cpu_us_max = quota, quota.cpu_ms_max * 1_000

    def require(self, principal: K) -> None:
        """Return while the principal may begin another run.

        Raises:
            ResourceExhaustedError: `quota.exceeded`; the message says which, and when it is free again.
        """
        now = self._clock.monotonic()
        account = self._current(principal, now)
        if account is None:
            if len(self._accounts) >= self._principals_max and not self._forget_ended(now):
                oldest = next(iter(self._accounts.values()))
                raise self._exceeded(f"{self._principals_max} principals use their quotas at once", oldest, now)
        elif account.runs >= self._quota.runs_max:
            raise self._exceeded(f"the quota of {self._quota.runs_max} runs is used up", account, now)
        elif account.cpu_us >= self._cpu_us_max:
            raise self._exceeded(f"the quota of {self._quota.cpu_ms_max} ms of CPU is used up", account, now)

    def charge(self, principal: K, *, cpu_us: int, runs: int = 1) -> None:
        """Add what a run has used; in the window that is then the present one."""
        now = self._clock.monotonic()
        account = self._current(principal, now)
        if account is None:
            if len(self._accounts) >= self._principals_max:
                self._forget_ended(now)
            # A run that `require` has let begin is charged, also where the table filled up meanwhile; such runs are
            # under way, so there are few.
            account = self._accounts[principal] = _Account(now)
        account.runs += runs
        account.cpu_us += max(cpu_us, 0)

    def used(self, principal: K) -> tuple[int, int]:
        """Return runs and µs of CPU in the present window."""
        account = self._current(principal, self._clock.monotonic())
        return (0, 0) if account is None else (account.runs, account.cpu_us)

    def document(self) -> dict[str, JsonValue]:
        """Return limits and counts as JSON; nobody is named."""
        return {
            "window_seconds": self._quota.window_seconds,
            "runs_max": self._quota.runs_max,
            "cpu_ms_max": self._quota.cpu_ms_max,
            "principals": len(self._accounts),
            "refused": self._refused,
        }

    def _current(self, principal: K, now: float) -> _Account | None:
        account = self._accounts.get(principal)
        if account is not None and now - account.began >= self._quota.window_seconds:
            del self._accounts[principal]
            return None
        return account

    def _forget_ended(self, now: float) -> bool:
        """Forget the accounts whose windows have ended; return whether there is room now."""
        while self._accounts:
            principal, oldest = next(iter(self._accounts.items()))
            if now - oldest.began < self._quota.window_seconds:
                break
            del self._accounts[principal]
        return len(self._accounts) < self._principals_max

    def _exceeded(self, what: str, account: _Account, now: float) -> ResourceExhaustedError:
        self._refused += 1
        left = max(account.began + self._quota.window_seconds - now, 0.0)
        message = f"{what}; it is free again in {left:.0f} seconds"
        return ResourceExhaustedError(message, free_in_seconds=left)
