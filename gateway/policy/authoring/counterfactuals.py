"""What would have been allowed: changes of the input or of the data that were evaluated, and that flip the decision.

A guess is never shown: each that is has been decided by the same rules. One change is tried before two, two before
more; more than two only those together that each take a reason away.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import orjson

from gateway.policy.authoring.edits import Change, changed
from gateway.policy.authoring.interpreter import Interpreter
from gateway.policy.authoring.probes import Budget, SpentError
from gateway.policy.engine import Entrypoint, rule_of

FLIPS_MAX: Final = 12
CANDIDATES_MAX: Final = 300
_HELPFUL_MAX: Final = 16  # that take a reason away, and are tried two by two
_TOGETHER_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Flip:
    """Changes with which the decision is a yes; or a shorter mission."""

    changes: tuple[Change, ...] = ()
    steps_left: tuple[str, ...] = ()  # ids of the steps of a shorter mission

    @property
    def target(self) -> str:
        """input, data, or both."""
        targets = {change.target for change in self.changes} or {"input"}
        return targets.pop() if len(targets) == 1 else "both"

    @property
    def size(self) -> int:
        """How much is changed."""
        return len(self.changes) or 1

    def document(self) -> dict[str, object]:
        """Return the flip as JSON."""
        out: dict[str, object] = {"target": self.target, "changes": [change.document() for change in self.changes]}
        if self.steps_left:
            return {**out, "steps_left": list(self.steps_left), "told": [self._steps()]}
        return {**out, "told": [change.told() for change in self.changes]}

    def _steps(self) -> str:
        shown = ", ".join(self.steps_left[:8])
        more = len(self.steps_left) - 8
        return f"input.mission.steps: only {shown}" + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class _Tried:
    allow: bool
    reasons: Counter[str]  # by code: the texts name values that a change changes
    error: bool


class Search:
    """Looks for flips of one decision."""

    def __init__(self, interpreter: Interpreter, entrypoint: Entrypoint, document: Any, budget: Budget) -> None:
        self._interpreter = interpreter
        self._rule = rule_of(entrypoint)
        self._document = document
        self._budget = budget
        self._denied = self._decide(interpreter, document)

    def flips(self, single: Iterable[tuple[Change, ...]], shorter: Iterable[Any] = ()) -> tuple[tuple[Flip, ...], bool]:
        """Return what would have been allowed, the smallest first, and whether everything was tried."""
        found: list[Flip] = []
        try:
            self._search(single, shorter, found)
        except SpentError:
            return self._best(found), False
        return self._best(found), True

    def _search(self, single: Iterable[tuple[Change, ...]], shorter: Iterable[Any], found: list[Flip]) -> None:
        helpful: list[tuple[Change, ...]] = []
        for changes in _distinct(single):
            tried = self._try(changes)
            if tried is None or tried.error:
                continue
            if tried.allow:
                found.append(Flip(changes))
            elif tried.reasons < self._denied.reasons:
                helpful.append(changes)
        for document in shorter:
            if self._decide(self._interpreter, document).allow:
                found.append(Flip((), tuple(str(step["id"]) for step in document["mission"]["steps"])))
                break
        if found:
            return
        for pair in combinations(helpful[:_HELPFUL_MAX], 2):
            self._together(pair, found)
        if not found:
            self._greedy(helpful, found)

    def _together(self, parts: Sequence[tuple[Change, ...]], found: list[Flip]) -> bool:
        changes = tuple(change for part in parts for change in part)
        tried = self._try(changes)
        if tried is not None and tried.allow:
            found.append(Flip(changes))
            return True
        return False

    def _greedy(self, helpful: Sequence[tuple[Change, ...]], found: list[Flip]) -> None:
        """Add changes as long as each takes another reason away."""
        taken: list[tuple[Change, ...]] = []
        left = self._denied.reasons
        while len(taken) < _TOGETHER_MAX:
            best: tuple[Counter[str], tuple[Change, ...]] | None = None
            for part in helpful:
                tried = (
                    self._try(tuple(change for each in (*taken, part) for change in each))
                    if part not in taken
                    else None
                )
                if tried is None or tried.error:
                    continue
                if tried.allow:
                    found.append(Flip(tuple(change for each in (*taken, part) for change in each)))
                    return
                if tried.reasons < left and (best is None or tried.reasons.total() < best[0].total()):
                    best = (tried.reasons, part)
            if best is None:
                return
            left = best[0]
            taken.append(best[1])

    def _try(self, changes: Sequence[Change]) -> _Tried | None:
        """Return what is decided with changes; None where they cannot be made."""
        document, data = self._document, self._interpreter.data
        try:
            for change in changes:
                if change.target == "input":
                    document = changed(document, change.place[1:], change)
                else:
                    data = changed(data, change.place[1:], change)
        except LookupError:
            return None
        interpreter = self._interpreter if data is self._interpreter.data else self._interpreter.over(data)
        return self._decide(interpreter, document)

    def _decide(self, interpreter: Interpreter, document: Any) -> _Tried:
        self._budget.spend()
        answer = interpreter.ask(self._rule, orjson.dumps(document))
        if not answer.defined or not isinstance(answer.value, dict):
            return _Tried(False, Counter(), True)
        reasons = answer.value.get("reasons")
        reasons = reasons if isinstance(reasons, list) else []
        told = Counter(str(each.get("code")) for each in reasons if isinstance(each, dict))
        return _Tried(answer.value.get("allow") is True, told, False)

    @staticmethod
    def _best(found: Sequence[Flip]) -> tuple[Flip, ...]:
        return tuple(sorted(found, key=lambda flip: flip.size)[:FLIPS_MAX])


def _distinct(candidates: Iterable[tuple[Change, ...]]) -> Iterator[tuple[Change, ...]]:
    seen: set[bytes] = set()
    for changes in candidates:
        key = b"".join(sorted(change.key for change in changes))
        if key not in seen and len(seen) < CANDIDATES_MAX:
            seen.add(key)
            yield changes
