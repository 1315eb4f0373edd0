"""Prints what the built-in step kinds take: fuel over all rounds, and pages of memory; the same on every machine."""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.step_modules import hooks, run, step

PAGE_BYTES = 65_536
SIZES = {"1 KB": 1_024, "64 KiB": 65_536}
WRITTEN = {"path": "a", "bytes": 1, "sha256": "0" * 64}
RECEIVED = {"status": 200, "headers": {"content-type": "application/json"}}
OPERATIONS = [{"op": "sort", "pointer": "/name"}, {"op": "map", "pointer": "/price"}, {"op": "sum"}]


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


def show(kind: str, label: str, parameters: dict[str, Any], outcome: dict[str, Any] | None = None) -> None:
    """Print a row: the first run, and the second with the outcome of the effect that the first asked for."""
    journals = [[]] if outcome is None else [[], [{"ok": outcome}]]
    runs = [run(kind, step(compact(parameters), compact(journal)), profile="semantic") for journal in journals]
    assert b'"error"' not in runs[-1].answer[:8]
    fuel, pages = sum(r.fuel for r in runs), max(r.memory_bytes for r in runs) // PAGE_BYTES
    print(f"| `{kind}` | {label} | {fuel:,} | {pages} |")


def main() -> None:
    print("| kind | value | fuel, all rounds | pages of memory |\n|---|---|---|---|")
    for label, size in SIZES.items():
        show("create_file", f"{label} of prose", {"path": "a", "content": prose(size)}, WRITTEN)
    worst = {"path": "a", "content": "\x01" * SIZES["64 KiB"]}
    show("create_file", "64 KiB of control characters, the worst case", worst, WRITTEN)
    for label, size in SIZES.items():
        file = {**WRITTEN, "content": records(size)}
        show("read_file", f"{label} of JSON records", {"path": "a", "format": "json"}, file)
    show("read_file", "64 KiB as text", {"path": "a"}, {**WRITTEN, "content": prose(SIZES["64 KiB"])})
    for label, size in SIZES.items():
        sent = {"url": "https://example.com/", "method": "POST", "body": json.loads(records(size))}
        show("http", f"{label} of JSON records, sent and received", sent, {**RECEIVED, "body": records(size)})
    show("transform", "no parameters", {})
    for label, size in SIZES.items():
        parameters = {"input": json.loads(records(size)), "operations": OPERATIONS}
        show("transform", f"{label} of JSON records: sort, map, sum", parameters)
    show("transform", "12,000 integers: sort", {"input": list(range(12_000, 0, -1)), "operations": [{"op": "sort"}]})
    show("delay", "any", {"ms": 5}, {"slept_ms": 5})
    print("\n" + ", ".join(f"{kind} {len(hook.module):,} bytes" for kind, hook in hooks().items()))


if __name__ == "__main__":
    main()
