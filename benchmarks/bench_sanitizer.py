"""What checking a step's parameters costs, beside what a program would call that trusts more.

A document stands beside jsonschema-rs, which judges its shape and no string in it; a value beside the function of the
standard library, or the parser, that a program would have called instead.

Run it: `python -m benchmarks.bench_sanitizer`
"""

import json
import os.path
import re
import shlex
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import ada_url
import jsonschema_rs

from benchmarks.command import main
from benchmarks.table import Row, timed_row
from benchmarks.timing import FULL, Effort, calls, in_turn
from engine.values import JsonObject
from gateway.addresses import PUBLIC_ONLY
from gateway.effects.schemas import ARGUMENT_SCHEMAS
from gateway.sanitizer import CHECKS, ParameterSchema

TITLE: Final = "sanitizer: what a module or a client hands in"
CALLS = 5_000
LONG_CALLS = 3

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


CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
VALUES: dict[str, tuple[str, str, Callable[[str], object]]] = {
    "path": ("src/main/report.txt", "os.path.normpath", os.path.normpath),
    "url": ("https://api.example.com/v1/items?limit=10", "ada_url.URL alone", ada_url.URL),
    "host": ("api.example.com", "str.encode('idna')", lambda host: host.encode("idna")),
    "identifier": ("step_one", "re.fullmatch", re.compile(r"[a-z_][a-z0-9_-]*").fullmatch),
    "argv": ("--depth=1", "shlex.quote", shlex.quote),
    "header": ("application/json", "re.fullmatch", re.compile(r"[\x20-\x7e]*").fullmatch),
    "text": (
        "A sentence of ordinary length, as a commit subject has.",
        "a regex for control characters",
        CONTROLS.search,
    ),
    "json": ('{"a":[1,2,3],"b":"x"}', "json.loads", json.loads),
}
LONG_TEXT = {"1 MiB of ASCII": "x" * (1 << 20), "1 MiB of Japanese": "\u65e5\u672c\u8a9e " * (1 << 18)}


def document_rows(effort: Effort) -> Iterator[Row]:
    """Measure whole parameter documents."""
    for what, (op, document) in DOCUMENTS.items():
        schema = ParameterSchema.compile(ARGUMENT_SCHEMAS[op])
        shape = jsonschema_rs.validator_for(dict(ARGUMENT_SCHEMAS[op]))
        ours, peer = in_turn(
            effort,
            calls(partial(schema.check, document, field="parameters"), CALLS),
            calls(partial(shape.is_valid, document), CALLS),
        )
        yield timed_row(what, "µs", ours, against="jsonschema-rs, shape alone", peer=peer)


def value_rows(effort: Effort) -> Iterator[Row]:
    """Measure one string of each type."""
    for type_name, (value, against, call) in VALUES.items():
        check = partial(CHECKS[type_name], value, PUBLIC_ONLY)
        ours, peer = in_turn(effort, calls(check, CALLS), calls(partial(call, value), CALLS))
        yield timed_row(f"one {type_name}", "µs", ours, against=against, peer=peer)
    for what, text in LONG_TEXT.items():
        ours, peer = in_turn(
            effort,
            calls(partial(CHECKS["text"], text, PUBLIC_ONLY), LONG_CALLS),
            calls(partial(CONTROLS.search, text), LONG_CALLS),
        )
        yield timed_row(f"text, {what}", "ms", ours, against="a regex for control characters", peer=peer)


def rows(effort: Effort = FULL) -> Iterator[Row]:
    """Measure every figure."""
    yield from document_rows(effort)
    yield from value_rows(effort)


if __name__ == "__main__":
    raise SystemExit(main(only="sanitizer"))
