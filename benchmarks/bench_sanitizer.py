"""What checking a step's parameters costs, beside a json round trip of the same document (or jsonschema, if installed).

The floor is that round trip with the standard library: what a service pays that checks nothing. jsonschema, the pure
Python validator, judges the shape alone. Run it: `python -m benchmarks.bench_sanitizer`.
"""

import importlib
import json
import timeit
from collections.abc import Callable

from engine.values import JsonObject
from gateway.addresses import PUBLIC_ONLY
from gateway.effects.schemas import ARGUMENT_SCHEMAS
from gateway.sanitizer import CHECKS, ParameterSchema

ROUNDS = 5  # of each; the best counts: the machine may be busy with other things
CALLS = 5_000

DOCUMENTS: dict[str, tuple[str, JsonObject]] = {
    "file.write, 3 fields": ("file.write", {"path": "out/report.txt", "content": "hello\n", "mode": "create"}),
    "http.request, url and 2 headers": (
        "http.request",
        {
            "method": "GET",
            "url": "https://api.example.com/v1/items?limit=10",
            "headers": {"accept": "application/json", "x-request-id": "0198c0de"},
        },
    ),
    "file.write, refused path": ("file.write", {"path": "../../etc/passwd", "content": "x"}),
}
VALUES = {
    "path": "src/main/report.txt",
    "url": "https://api.example.com/v1/items?limit=10",
    "host": "api.example.com",
    "identifier": "step_one",
    "argv": "--depth=1",
    "header": "application/json",
    "text": "A sentence of ordinary length, as a commit subject has.",
    "json": '{"a":[1,2,3],"b":"x"}',
}
LONG_TEXT = {"text, 1 MiB of ASCII": "x" * (1 << 20), "text, 1 MiB of Japanese": "\u65e5\u672c\u8a9e " * (1 << 18)}


def best_us(call: Callable[[], object], calls: int = CALLS) -> float:
    return min(timeit.repeat(call, number=calls, repeat=ROUNDS)) / calls * 1e6


def peer(schema: JsonObject, document: JsonObject) -> tuple[str, float]:
    """Return the peer's name and its time for `document`."""
    try:
        validator = importlib.import_module("jsonschema").Draft202012Validator(schema)
    except ImportError:
        return "json round trip", best_us(lambda: json.loads(json.dumps(document)))
    return "jsonschema, shape only", best_us(lambda: list(validator.iter_errors(document)), 200)


def main() -> None:
    print(f"{'a document':<34}{'ours, µs':>10}   peer")
    for what, (op, document) in DOCUMENTS.items():
        compiled = ParameterSchema.compile(ARGUMENT_SCHEMAS[op])
        ours = best_us(lambda s=compiled, d=document: s.check(d, field="parameters"))  # type: ignore[misc]
        name, theirs = peer(ARGUMENT_SCHEMAS[op], document)
        print(f"{what:<34}{ours:>10.2f}   {name} {theirs:.2f} µs")
    print(f"\n{'one value':<34}{'ours, µs':>10}")
    for type_name, value in VALUES.items():
        check = CHECKS[type_name]
        print(f"{type_name:<34}{best_us(lambda c=check, v=value: c(v, PUBLIC_ONLY)):>10.2f}")  # type: ignore[misc]
    for what, value in LONG_TEXT.items():
        print(f"{what:<34}{best_us(lambda v=value: CHECKS['text'](v, PUBLIC_ONLY), 3):>10.0f}")  # type: ignore[misc]


if __name__ == "__main__":
    main()
