"""Fan-outs of documents: `foreach`, whose items stand in the mission or are an earlier step's output."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import StepError
from engine.findings import Findings, Path
from engine.reference import Reference, Scope, lookup, parse_alone, refuse_references
from engine.values import JsonValue


@dataclass(frozen=True, slots=True)
class ForEachItems:
    """Where the items of one step come from; `engine.plan.ItemSource`."""

    source: Reference | Sequence[JsonValue]
    items_max: int
    parallel_limit: int | None = None

    @property
    def count(self) -> int | None:
        """How many there are; None where that is known only when the step is ready."""
        return None if isinstance(self.source, Reference) else len(self.source)

    def items(self, scope: Scope) -> Sequence[JsonValue]:
        """Return the items.

        Raises:
            StepError: `foreach.not_a_list`; `foreach.too_many`, more than `items_max`; `reference.unresolved`,
                there is no such value. The same values give the same answer, so it is not tried again.
        """
        if not isinstance(self.source, Reference):
            return self.source
        try:
            items = lookup(self.source, scope)
        except StepError as error:
            raise StepError(f"foreach: {error.message}", code=error.code, retryable=False) from error
        if not isinstance(items, list | tuple):
            raise StepError(f"foreach: {self.source} is no list", code="foreach.not_a_list", retryable=False)
        if len(items) > self.items_max:
            message = f"foreach: {self.source} has {len(items)} items; {self.items_max} are allowed"
            raise StepError(message, code="foreach.too_many", retryable=False)
        return items


def read_items(value: JsonValue, path: Path, findings: Findings, *, items_max: int) -> Reference | Sequence[JsonValue]:
    """Return what `foreach.items` says: a list, in whose texts nothing is a reference, or one reference to a list.

    What is wrong with it is told to `findings`, and it is no items then.
    """

    def report(where: Path, code: str, message: str) -> None:
        findings.add(where, code, message)

    if isinstance(value, str):
        return parse_alone(value, path, report) or ()
    if not isinstance(value, list):
        findings.add(path, "mission.wrong_type", "a list, or one reference to a list, is expected here")
        return ()
    if len(value) > items_max:
        message = f"foreach has {len(value)} items; {items_max} are allowed"
        findings.add(path, "mission.too_many_items", message, kind="limit")
        return ()
    refuse_references(value, path, report)
    return value
