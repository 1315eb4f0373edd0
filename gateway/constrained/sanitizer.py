"""The sanitizer under its constraints: it runs in this process, so it is judged after the fact, by its CPU time.

By CPU time and not by the clock, since a busy host is no fault of what is sanitized.
"""

from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from engine.constraints import ExecutionConstraints
from engine.constraints.enforcer import ConstraintEnforcer, Report
from engine.constraints.rules import Rule, RuleType
from gateway.constrained.data import MISSION_SANITIZER, STEP_SANITIZER
from gateway.constrained.record import in_trail
from gateway.events import Trail

_T = TypeVar("_T")
_P = ParamSpec("_P")


class ConstrainedSanitizer:
    """Runs the sanitizer of missions and of steps. Threads may use it at the same time."""

    def __init__(
        self, enforcer: ConstraintEnforcer, rules: Mapping[str, ExecutionConstraints], report: Report | None = None
    ) -> None:
        """Prepare.

        Args:
            enforcer: runs and counts.
            rules: as `gateway.constrained.data.rules_from`.
            report: hears of missions over the limit; of steps their own trail hears.
        """
        self._enforcer = enforcer
        self._report = report
        self.adopt(rules)

    def adopt(self, rules: Mapping[str, ExecutionConstraints]) -> None:
        """From now on hold the sanitizer to these."""
        self._mission = Rule(MISSION_SANITIZER, RuleType.FAST, rules[MISSION_SANITIZER])
        self._step = Rule(STEP_SANITIZER, RuleType.FAST, rules[STEP_SANITIZER])

    def mission(self, sanitize: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what `sanitize` returns of a mission, which is among its arguments.

        Raises:
            ConstraintViolationError: it took more CPU than it may; its answer is not used.
        """
        return self._enforcer.execute_with_constraints(
            self._mission, lambda _budget: sanitize(*args, **kwargs), wall=False, report=self._report
        )

    def step(self, trail: Trail, target: str, sanitize: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what `sanitize` returns of a step with its inputs, which are among its arguments.

        Raises:
            ConstraintViolationError: as `mission`.
        """
        return self._enforcer.execute_with_constraints(
            self._step, lambda _budget: sanitize(*args, **kwargs), wall=False, report=in_trail(trail, target)
        )
