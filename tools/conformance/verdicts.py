"""One case through vetting and regorus, as a bundle goes through them, and the verdict."""

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import regorus

from gateway.errors import PolicyInvalidError
from gateway.policy.bundle import Bundle
from gateway.policy.supplied import Spelling, install, named
from gateway.policy.vetting import Module
from tools.conformance.cases import Case, ordered

_RULE_QUERY: Final = re.compile(r"data(\.\w+)+ = \w+(; data(\.\w+)+ = \w+)*\s*")


class Kind(StrEnum):
    """How a case came out."""

    AGREES = "agrees"  # regorus' own builtins, if any
    SUPPLIED = "supplied"  # agrees, and a builtin that the gateway supplies has a part in it
    ENDED = "ended"  # accepted, and the evaluation ends in an error: the decision is a deny
    REFUSED = "refused"
    DIFFERENT = "DIFFERENT"  # a defect


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one case."""

    case: Case
    kind: Kind
    rule: str = ""  # the code of a refusal
    why: str = ""  # the refusal, with file, line and suggestion; the error; or the answer
    bindings: tuple[Any, ...] | None = None  # what regorus answered


def judge(case: Case) -> Verdict:
    """Run one case."""
    if case.input_term is not None:
        why = "input.json:1: the input is no JSON; sets come into a policy as arrays"
        return Verdict(case, Kind.REFUSED, "policy.input", why)
    if not _RULE_QUERY.fullmatch(case.query):
        return Verdict(
            case, Kind.REFUSED, "policy.query", "query:1: a decision asks for a rule: put the query into one"
        )
    try:
        modules = [Module(path, text) for path, text in case.texts]
        Bundle.build(manifest={"roots": [""]}, data=case.data, modules=modules)
    except PolicyInvalidError as error:
        return Verdict(case, Kind.REFUSED, error.code, str(error))
    supplied = named(case.modules)
    try:
        found = _evaluate(case, supplied)
    except RuntimeError as error:
        text = str(error).partition("\n\n")[0].strip().rpartition("\n")[2]
        ended = Kind.AGREES if case.want_error else Kind.ENDED
        return Verdict(case, ended, "evaluation", text)
    expected = ordered(()) if case.want_error and case.strict else ordered(case.want)
    if ordered(found) != expected or (case.want_error and not case.strict):
        return Verdict(case, Kind.DIFFERENT, "", f"answers {found}, and OPA {list(case.want)}")
    return Verdict(case, Kind.SUPPLIED if supplied else Kind.AGREES, bindings=tuple(found))


def _evaluate(case: Case, supplied: frozenset[str]) -> list[Any]:
    """Return the bindings of each result.

    Raises:
        RuntimeError: the evaluation ends in an error.
    """
    engine, spelling = regorus.Engine(), Spelling(case.data)
    for path, text in case.texts:
        engine.add_policy(path, text)
    install(engine, supplied, spelling)
    engine.add_data_json(json.dumps(case.data))
    if case.input_json is not None:
        engine.set_input_json(case.input_json)
        spelling.begin(case.input_json.encode())
    answer = json.loads(engine.eval_query_as_json(case.query))
    return [result["bindings"] for result in answer.get("result", [])]
