"""What a check says."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.errors import ConfigurationError


class State(StrEnum):
    """How it stands."""

    OK = "ok"
    WARN = "warn"  # it works, and somebody should know
    FAIL = "fail"  # a gateway does not start so, or what it says could not be relied on


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding. `code` is stable, `area.what`; `advice` says what to do, and is empty where there is nothing."""

    code: str
    state: State
    message: str
    advice: str = ""


def ok(code: str, message: str) -> Check:
    """Return a finding that is fine."""
    return Check(code=code, state=State.OK, message=message)


def warn(code: str, message: str, advice: str) -> Check:
    """Return one that somebody should know of."""
    return Check(code=code, state=State.WARN, message=message, advice=advice)


def failed(code: str, message: str, advice: str) -> Check:
    """Return one with which no gateway should run."""
    return Check(code=code, state=State.FAIL, message=message, advice=advice)


def require(check: Check) -> None:
    """Refuse to go on with a check that has failed.

    Raises:
        ConfigurationError: `doctor.<code>`.
    """
    if check.state is State.FAIL:
        raise ConfigurationError(f"{check.message}; {check.advice}", code=f"doctor.{check.code}")
