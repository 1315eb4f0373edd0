"""The cases beside a hook, cases.json: what it is given, and what it has to answer.

A case of a step has `parameters` and, for a later round, the `journal`; or `rounds`, which are run one behind the
other, each with the outcomes of those before. A case of another kind has `settings` and the `document` that stands
behind them (wasm-hooks/abi.md). A name that ends in `_text` gives the same as JSON text, to be taken to the byte;
`input_text` is a whole input, for what is malformed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from engine.errors import MissionInvalidError
from engine.json_text import read_json
from engine.mission import MissionLimits
from gateway.cli.hook.folder import CASES_NAME, HookFolder, read_file
from gateway.errors import ConfigurationError
from gateway.sandbox.manifest import Manifest

CASES_MAX: Final = 1_000
CASES_BYTES_MAX: Final = 4 * 1024 * 1024
ROUNDS_MAX: Final = 64
NOW: Final = "2026-01-01T00:00:00.000000Z"
SEED: Final = "00112233445566778899aabbccddeeff"
_LIMITS: Final = MissionLimits()
_EXPECTED: Final = ("expect", "expect_text")
_STEP_FIELDS: Final = ("parameters", "parameters_text", "journal", "journal_text", "rounds")
_OTHER_FIELDS: Final = ("settings", "document")
_ROUND_FIELDS: Final = ("outcomes",)
_STEP: Final = {"id": "a", "name": "A", "attempt": 1}


@dataclass(frozen=True, slots=True)
class Expected:
    """What an answer has to be: a JSON value, or a text to the byte."""

    value: Any = None
    text: str | None = None

    def is_met(self, answer: bytes) -> bool:
        """Return whether an answer is as expected."""
        if self.text is not None:
            return answer == self.text.encode()
        try:
            return same(orjson.loads(answer), self.value)
        except orjson.JSONDecodeError:
            return False


@dataclass(frozen=True, slots=True)
class Round:
    """One run of a case."""

    document: bytes
    expected: Expected


@dataclass(frozen=True, slots=True)
class Case:
    """What a hook is given, round by round, and what it has to answer to each."""

    name: str
    rounds: tuple[Round, ...]


def same(a: Any, b: Any) -> bool:
    """Return whether two JSON values are equal; true is not 1 here, and 1 is not 1.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(value, b[name]) for name, value in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def read_cases(folder: HookFolder) -> tuple[Case, ...]:
    """Return the cases of a hook.

    Raises:
        ConfigurationError: `hook.cases`, the file is not there or not of its form; the message says which case.
    """
    data = read_file(folder.path / CASES_NAME, CASES_BYTES_MAX)
    try:
        entries = read_json(data.decode(), _LIMITS)
    except (UnicodeDecodeError, MissionInvalidError) as error:
        raise _wrong("", f"is not strict JSON: {error}") from error
    if not isinstance(entries, list) or not 1 <= len(entries) <= CASES_MAX:
        raise _wrong("", f"must be a list of 1 to {CASES_MAX} cases")
    cases = tuple(_case(folder.manifest, number, entry) for number, entry in enumerate(entries, start=1))
    names = [case.name for case in cases]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise _wrong("", f"has two cases {twice!r}")
    return cases


def _case(manifest: Manifest, number: int, entry: object) -> Case:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str) or not entry["name"]:
        raise _wrong(f"case {number}", "must be an object with a name")
    name: str = entry["name"]
    fields = _STEP_FIELDS if manifest.kind == "step" else _OTHER_FIELDS
    known = {"name", "input_text", *_EXPECTED, *fields}
    if unknown := sorted(set(entry) - known):
        raise _wrong(name, f"has an unknown field {unknown[0]!r}; there are {', '.join(sorted(known))}")
    if "rounds" in entry:
        return Case(name, _rounds(manifest, name, entry))
    if (text := entry.get("input_text")) is not None:
        document = _text(name, "input_text", text).encode()
    elif manifest.kind == "step":
        document = _step(manifest, name, entry, _json_text(name, entry, "journal", []))
    else:
        document = _placed(manifest, name, entry)
    return Case(name, (Round(document, _expected(name, entry)),))


def _rounds(manifest: Manifest, name: str, entry: Mapping[str, Any]) -> tuple[Round, ...]:
    """Return rounds that see the outcomes of all rounds before."""
    given = entry["rounds"]
    if set(entry) & {"journal", "journal_text", "input_text", *_EXPECTED}:
        raise _wrong(name, "has rounds: what it expects, and outcomes, belong into each")
    if not isinstance(given, Sequence) or isinstance(given, str) or not 1 <= len(given) <= ROUNDS_MAX:
        raise _wrong(name, f"rounds must be a list of 1 to {ROUNDS_MAX}")
    journal: list[Any] = []
    rounds = []
    for number, one in enumerate(given, start=1):
        where = f"{name}, round {number}"
        if not isinstance(one, Mapping) or not set(one) <= {*_ROUND_FIELDS, *_EXPECTED}:
            raise _wrong(where, "has the fields expect or expect_text, and outcomes")
        rounds.append(Round(_step(manifest, name, entry, compact(journal)), _expected(where, one)))
        outcomes = one.get("outcomes", [])
        if not isinstance(outcomes, list) or bool(outcomes) != (number < len(given)):
            raise _wrong(where, "every round but the last has outcomes, a list of {ok} or {error}")
        journal += outcomes
    return tuple(rounds)


def _step(manifest: Manifest, name: str, entry: Mapping[str, Any], journal: str) -> bytes:
    parameters = _json_text(name, entry, "parameters", {})
    step = compact({**_STEP, "step_type": manifest.name})
    head = f'{{"abi":1,"kind":"step","step":{step},"parameters":{parameters},"journal":{journal},'
    return f'{head}"now":"{NOW}","seed":"{SEED}"}}'.encode()


def _placed(manifest: Manifest, name: str, entry: Mapping[str, Any]) -> bytes:
    """Return the document of a screen, a rewrite or an observer, with the members in the gateway's order."""
    settings, document = entry.get("settings", {}), entry.get("document", {})
    if not isinstance(settings, Mapping) or not isinstance(document, Mapping):
        raise _wrong(name, "settings and document must be objects")
    head: dict[str, Any] = {"abi": 1, "kind": manifest.kind, "at": manifest.at, "now": NOW, "seed": SEED}
    head["settings"] = settings
    if taken := sorted(set(head) & set(document)):
        raise _wrong(name, f"document must not have {taken[0]!r}: it is put before it")
    if manifest.at != "mission" and "step" not in document:
        document = {"step": {**_STEP, "step_type": "http", "item": None}, **document}
    return compact({**head, **document}).encode()


def _json_text(name: str, entry: Mapping[str, Any], field: str, absent: object) -> str:
    if (text := entry.get(f"{field}_text")) is not None:
        if field in entry:
            raise _wrong(name, f"has both {field} and {field}_text")
        return _text(name, f"{field}_text", text)
    return compact(entry.get(field, absent))


def _expected(where: str, entry: Mapping[str, Any]) -> Expected:
    if len(set(_EXPECTED) & set(entry)) != 1:
        raise _wrong(where, "has expect or expect_text, one of them")
    if "expect_text" in entry:
        return Expected(text=_text(where, "expect_text", entry["expect_text"]))
    return Expected(value=entry["expect"])


def _text(where: str, field: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(where, f"{field} must be a string")
    return value


def compact(value: object) -> str:
    """Return a value as the gateway writes it."""
    return orjson.dumps(value).decode()


def _wrong(where: str, rule: str) -> ConfigurationError:
    return ConfigurationError(": ".join(filter(None, (CASES_NAME, where, rule))), code="hook.cases")
