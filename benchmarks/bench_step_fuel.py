"""What the built-in step kinds take of what `semantic` grants a run: fuel and memory, the same on every machine.

No clock is read here; docs/step-kinds.md quotes these figures. Run it: `python -m benchmarks.bench_step_fuel`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.command import main
from benchmarks.table import Row
from benchmarks.timing import FULL, Effort
from tests.step_modules import limits, run, step

TITLE: Final = "step kinds: fuel over all rounds of a step"
PROFILE: Final = "semantic"
PAGE_BYTES = 65_536
SIZES = {"1 KB": 1_024, "64 KiB": 65_536}
WRITTEN = {"path": "a", "bytes": 1, "sha256": "0" * 64}
RECEIVED = {"status": 200, "headers": {"content-type": "application/json"}}
APPROVED = {"approved": True, "approval_id": "0" * 36, "by": "bob", "comment": "ok", "decided_at": "2026-01-31T12:00Z"}
OPERATIONS = [{"op": "sort", "pointer": "/name"}, {"op": "map", "pointer": "/price"}, {"op": "sum"}]


@dataclass(frozen=True, slots=True)
class Case:
    """A step, and the outcome of the effect that its first run asks for."""

    kind: str
    label: str
    parameters: dict[str, Any]
    outcome: dict[str, Any] | None = None


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def records(size: int) -> str:
    """Return JSON of nearly `size` bytes."""
    found: list[dict[str, Any]] = []
    while len(compact(found)) < size - 70:
        found.append({"id": len(found), "name": f"item {len(found)}", "tags": ["a", "b"], "price": 12.5})
    return compact(found)


def prose(size: int) -> str:
    return ("A line of prose, and another.\n" * (size // 30 + 1))[:size]


def cases() -> Iterator[Case]:
    """Return the cases in the order of docs/step-kinds.md."""
    for label, size in SIZES.items():
        yield Case("create_file", f"{label} of prose", {"path": "a", "content": prose(size)}, WRITTEN)
    worst = {"path": "a", "content": "\x01" * SIZES["64 KiB"]}
    yield Case("create_file", "64 KiB of control characters, the worst case", worst, WRITTEN)
    for label, size in SIZES.items():
        file = {**WRITTEN, "content": records(size)}
        yield Case("read_file", f"{label} of JSON records", {"path": "a", "format": "json"}, file)
    yield Case("read_file", "64 KiB as text", {"path": "a"}, {**WRITTEN, "content": prose(SIZES["64 KiB"])})
    for label, size in SIZES.items():
        sent = {"url": "https://example.com/", "method": "POST", "body": json.loads(records(size))}
        received = {**RECEIVED, "body": records(size)}
        yield Case("http", f"{label} of JSON records, sent and received", sent, received)
    yield Case("transform", "no parameters", {})
    for label, size in SIZES.items():
        parameters = {"input": json.loads(records(size)), "operations": OPERATIONS}
        yield Case("transform", f"{label} of JSON records: sort, map, sum", parameters)
    integers = {"input": list(range(12_000, 0, -1)), "operations": [{"op": "sort"}]}
    yield Case("transform", "12,000 integers: sort", integers)
    yield Case("delay", "any", {"ms": 5}, {"slept_ms": 5})
    for label, message in (("a short message", "Ship it?"), ("4,096 ideographs", "漢" * 4_096)):
        yield Case("approval", label, {"message": message}, APPROVED)
    for label, size in SIZES.items():
        nested = {"mission": {"version": "1.0", "name": "n", "steps": json.loads(records(size))}, "outputs": ["a"]}
        ended = {"mission_id": "0" * 36, "status": "Success", "outputs": {"a": json.loads(records(size))}}
        yield Case("mission", f"{label} of document and of outputs", nested, ended)


def measured(case: Case) -> Row:
    """Run a step: the first round, and the second with the outcome of the effect that the first asked for."""
    journals: list[list[Any]] = [[]] if case.outcome is None else [[], [{"ok": case.outcome}]]
    rounds = [run(case.kind, step(compact(case.parameters), compact(j)), profile=PROFILE) for j in journals]
    assert b'"error"' not in rounds[-1].answer[:8]
    pages = max(one.memory_bytes for one in rounds) // PAGE_BYTES
    return Row(
        what=f"{case.kind}, {case.label}; {pages} page{'s' if pages > 1 else ''} of memory",
        ours=sum(one.fuel for one in rounds),
        unit="fuel",
        peer_name=f"granted by {PROFILE}",
        peer=limits(case.kind, PROFILE).fuel_max,
    )


def rows(effort: Effort = FULL) -> Iterator[Row]:
    """Measure every case, once: fuel is a count."""
    del effort
    for case in cases():
        yield measured(case)


if __name__ == "__main__":
    raise SystemExit(main(only="step_fuel"))
