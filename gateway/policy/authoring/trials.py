"""Runs tests, each on its own and with a deadline, and says how each ended: as `opa test` would, or with an error.

Source: v1/tester of OPA 1.22.0. A test passes if its rule is `true`, and fails if it is anything else or undefined.
Where regorus ends in an error that OPA does not know, a wrong type for one, the test is an error here: never a pass.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.errors import WorkerError
from gateway.policy.answer import Status
from gateway.policy.authoring.laboratory import Laboratory
from gateway.policy.authoring.suite import Suite, TestCase

_CONFLICT: Final = "must not produce multiple outputs"
_PLACE: Final = re.compile(r"-->\s(.*):(\d+):\d+$", re.MULTILINE)
_ERROR: Final = re.compile(r"^error: (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """How one test ended."""

    __test__ = False  # of pytest

    case: TestCase
    passed: bool = False
    error_code: str = ""  # OPA's: eval_conflict_error, eval_cancel_error, eval_internal_error
    error: str = ""
    error_place: tuple[str, int] | None = None  # file and row, where it is known
    duration_ns: int = 0
    failed_at: int | None = None  # row of the first statement that does not hold
    lines: dict[str, list[int]] = field(default_factory=dict)  # of the layouts: what was looked at

    @property
    def outcome(self) -> str:
        """PASS, FAIL, SKIPPED or ERROR."""
        if self.case.skipped:
            return "SKIPPED"
        return "ERROR" if self.error_code else "PASS" if self.passed else "FAIL"

    def document(self, root: str) -> dict[str, object]:
        """Return the result as `opa test --format json` has it; files are under `root`."""
        case = self.case
        out: dict[str, Any] = {
            "location": {"file": f"{root}{case.file}", "row": case.row, "col": case.column},
            "package": case.package,
            "name": case.name,
        }
        if self.outcome == "FAIL":
            out["fail"] = True
        if self.error_code:
            out["error"] = {"code": self.error_code, "message": self.error}
            if self.error_place is not None:
                file, row = self.error_place
                out["error"] = {**out["error"], "location": {"file": f"{root}{file}", "row": row}}
        if case.skipped:
            out["skip"] = True
        return {**out, "duration": self.duration_ns}


async def run_tests(
    laboratory: Laboratory, suite: Suite, cases: Sequence[TestCase], *, deadline_ms: int, clock: Callable[[], float]
) -> list[TestResult]:
    """Run tests one after another.

    Args:
        laboratory: has the suite's files.
        suite: where the tests are from.
        cases: which to run; those that are to be skipped are not.
        deadline_ms: of each test; one that takes longer is ended, and is an error.
        clock: monotonic seconds.

    Raises:
        WorkerError: there are no workers to be had.
    """
    return [await _run(laboratory, suite, case, deadline_ms, clock) for case in cases]


async def _run(
    laboratory: Laboratory, suite: Suite, case: TestCase, deadline_ms: int, clock: Callable[[], float]
) -> TestResult:
    if case.skipped:
        return TestResult(case=case)
    start = clock()

    def ended(code: str, message: str, place: tuple[str, int] | None = None) -> TestResult:
        spent = round((clock() - start) * 1e9)
        return TestResult(case=case, error_code=code, error=message, error_place=place, duration_ns=spent)

    try:
        answer, lines = await laboratory.cover(case.rule, deadline_ms=deadline_ms)
    except WorkerError as error:
        if error.code == "worker.deadline":
            return ended("eval_cancel_error", f"it did not end within {deadline_ms} ms, and was ended")
        if error.code == "worker.crashed":
            return ended("eval_internal_error", "the engine broke, or took more memory than it may")
        raise
    if answer.status in {Status.FAILED, Status.PANICKED}:
        code = "eval_conflict_error" if _CONFLICT in answer.message else "eval_internal_error"
        return ended(code, *_told(answer.message, suite))
    passed = answer.value is True
    spent = round((clock() - start) * 1e9)
    line = None if passed else await laboratory.locate(case.rule, deadline_ms=deadline_ms)
    row = None if line is None else suite.layouts[case.file].row(line)
    return TestResult(case=case, passed=passed, duration_ns=spent, failed_at=row, lines=lines)


def _told(message: str, suite: Suite) -> tuple[str, tuple[str, int] | None]:
    """Return what regorus says without its drawing, and the place in the author's file."""
    place, error = _PLACE.search(message), _ERROR.search(message)
    text = error[1] if error else message
    if place is None or place[1] not in suite.layouts:
        return text, None
    row = suite.layouts[place[1]].row(int(place[2]))
    return text, None if row is None else (place[1], row)
