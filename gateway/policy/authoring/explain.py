"""Why a decision is what it is, and what would have been allowed: read off the rules, and evaluated.

No I/O, and bounded: in evaluations, and by a deadline between them. One evaluation that does not end has to be ended
from outside, which is what a worker is for (`gateway.policy.authoring.laboratory`).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import orjson

from engine.clock import Clock
from engine.values import JsonObject
from gateway.errors import Reason
from gateway.policy.authoring.analysis import Analyst, DefinitionNode, Failing, RuleNode
from gateway.policy.authoring.counterfactuals import Flip, Search
from gateway.policy.authoring.documents import field_path
from gateway.policy.authoring.edits import Change
from gateway.policy.authoring.interpreter import Interpreter
from gateway.policy.authoring.probes import Budget, Environment, Prober, SpentError
from gateway.policy.authoring.program import Definition, Program, Statement
from gateway.policy.authoring.reach import references
from gateway.policy.authoring.repairs import Repairer
from gateway.policy.authoring.variations import shorter, variations
from gateway.policy.bundle import Bundle
from gateway.policy.decision import Decision
from gateway.policy.engine import Entrypoint, rule_of
from gateway.policy.rego_ast import Path

DEADLINE_MS: Final = 3_000
# What is asked for, and by whom: with another one it would be another question.
_IDENTITY: Final = re.compile(
    r"input\.(?:version|principal\.(?:subject|tenant|anonymous)|rpc\..*|step\.(?:id|step_type)|effect\.(?:op|index)"
    r"|mission\.(?:id|digest|name|steps\[\d+\]\.(?:id|step_type)))"
)
_VALUES_SHOWN: Final = 3
_VALUE_CHARS_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class ReasonSource:
    """A reason, and the rule that gave it."""

    reason: Reason
    definition: Definition | None  # None: it is the host's, or comes from no rule alone

    def document(self) -> dict[str, object]:
        """Return it as JSON."""
        out: dict[str, object] = {
            "code": self.reason.code,
            "message": self.reason.message,
            "rule": self.reason.rule,
        }
        if self.definition is None:
            return {**out, "file": "", "line": None, "source": ""}
        return {**out, "file": self.definition.file, "line": self.definition.line, "source": self.definition.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a decision is what it is."""

    entrypoint: Entrypoint
    decision: Decision
    reasons: tuple[ReasonSource, ...]
    tree: RuleNode | None  # of what `allow` needs; None where it is allowed, or could not be looked at
    flips: tuple[Flip, ...]
    complete: bool  # everything was looked at and tried: neither time nor evaluations ran out
    evaluations: int

    def document(self) -> dict[str, object]:
        """Return the explanation as JSON."""
        return {
            "entrypoint": self.entrypoint,
            "decision": self.decision.document(),
            "reasons": [reason.document() for reason in self.reasons],
            "needs": None if self.tree is None else rule_document(self.tree),
            "would_be_allowed": [flip.document() for flip in self.flips],
            "complete": self.complete,
            "evaluations": self.evaluations,
        }


def explain(
    bundle: Bundle, entrypoint: Entrypoint, document: bytes, *, clock: Clock, deadline_ms: int = DEADLINE_MS
) -> Explanation:
    """Return why `bundle` decides a document as it does.

    Args:
        bundle: vetted.
        entrypoint: which decision.
        document: the input, JSON.
        clock: for the deadline.
        deadline_ms: after it nothing more is evaluated, and what is known is told.
    """
    return explain_modules(
        bundle.sources,
        bundle.document,
        bundle.digest,
        entrypoint,
        document,
        clock=clock,
        deadline_ms=deadline_ms,
    )


def explain_modules(
    modules: Iterable[tuple[str, str]],
    data: JsonObject,
    digest: str,
    entrypoint: Entrypoint,
    document: bytes,
    *,
    clock: Clock,
    deadline_ms: int = DEADLINE_MS,
) -> Explanation:
    """Return the same for the parts of a bundle, as a worker has them."""
    sources = list(modules)
    budget = Budget(clock.monotonic, deadline_ms)
    interpreter = Interpreter.of(sources, data)
    prober = Prober(interpreter, document, budget)
    answer = interpreter.ask(rule_of(entrypoint), document)
    decision = answer.decision(entrypoint, bundle=digest)
    program = Program.of(sources)
    analyst = Analyst(program, prober, data)
    told = _Told(analyst, entrypoint, decision)
    return told.explanation(budget)


def unexplained(entrypoint: Entrypoint, decision: Decision) -> Explanation:
    """Return the explanation of a decision of which nothing more is known."""
    reasons = tuple(ReasonSource(reason, None) for reason in decision.reasons)
    return Explanation(
        entrypoint=entrypoint,
        decision=decision,
        reasons=reasons,
        tree=None,
        flips=(),
        complete=False,
        evaluations=0,
    )


class _Told:
    """One explanation on its way."""

    def __init__(self, analyst: Analyst, entrypoint: Entrypoint, decision: Decision) -> None:
        self._analyst = analyst
        self._entrypoint = entrypoint
        self._decision = decision
        self._reasons: list[ReasonSource] = []
        self._tree: RuleNode | None = None
        self._flips: tuple[Flip, ...] = ()
        self._complete = True

    def explanation(self, budget: Budget) -> Explanation:
        try:
            self._find_reasons()
            if not self._decision.allow:
                self._tree = self._analyst.rule(self._needed())
                self._search(budget)
        except SpentError:
            self._complete = False
        done = len(self._reasons)
        rest = [ReasonSource(reason, None) for reason in self._decision.reasons[done:]]
        return Explanation(
            entrypoint=self._entrypoint,
            decision=self._decision,
            reasons=(*self._reasons, *rest),
            tree=self._tree,
            flips=self._flips,
            complete=self._complete,
            evaluations=budget.used,
        )

    def _find_reasons(self) -> None:
        """Find for each reason the definition that gives it: each is evaluated alone."""
        values: dict[Path, list[tuple[Definition, Any]]] = {}
        for reason in self._decision.reasons:
            path = tuple(reason.rule.split("."))
            if path not in values:
                definitions = self._analyst.program.definitions.get(path, [])
                plain = [each for each in definitions if each.rule.kind != "function"]
                values[path] = [(each, self._analyst.prober.definition_value(each).value) for each in plain]
            wanted = {"code": reason.code, "message": reason.message, "rule": reason.rule}
            found = next((each for each, value in values[path] if gives(value, wanted)), None)
            self._reasons.append(ReasonSource(reason, found))

    def _needed(self) -> Path:
        """Return the rule that the decision takes its `allow` from, or the decision itself."""
        path = tuple(rule_of(self._entrypoint).split("."))
        for definition in self._analyst.program.definitions.get(path, []):
            value = definition.value
            if value is None or "Object" not in value:
                continue
            for _, key, field in value["Object"]["fields"]:
                if "String" in key and key["String"]["value"] == "allow":
                    targets = (self._analyst.program.rule_at(each) for each in references(field, definition.module))
                    if (rule := next((each for each in targets if each is not None), None)) is not None:
                        return rule
        return path

    def _search(self, budget: Budget) -> None:
        document, data = self._analyst.prober.input, self._analyst.data
        search = Search(self._analyst.prober.interpreter, self._entrypoint, document, budget)
        repairer = Repairer(self._analyst)
        repairs = ((each,) for each in self._repairs(repairer) if not _IDENTITY.fullmatch(field_path(each.place)))
        singles = chain(repairs, variations(document, data))
        self._flips, complete = search.flips(singles, shorter(document) if self._entrypoint == "mission" else ())
        self._complete = self._complete and complete

    def _repairs(self, repairer: Repairer) -> Iterator[Change]:
        seen: set[int] = set()
        for source in self._reasons:
            if source.definition is not None and id(source.definition) not in seen:
                seen.add(id(source.definition))
                yield from repairer.fired(source.definition)
        if self._tree is not None:
            yield from repairer.rule(self._tree)


def gives(value: Any, reason: dict[str, str]) -> bool:
    """Whether a rule's value is a reason, or a collection that has it."""
    if isinstance(value, list):
        return reason in value
    if isinstance(value, dict):
        return value == reason or reason in value.values() or any(gives(each, reason) for each in value.values())
    return False


def rule_document(node: RuleNode) -> dict[str, object]:
    """Return a rule and why it does not hold, as JSON."""
    out: dict[str, object] = {"rule": ".".join(node.path), "state": node.state, "default": node.default}
    if node.arguments:
        out["arguments"] = {name: shown(value) for name, value in node.arguments}
    if node.answer.message:
        out["message"] = node.answer.message
    return {**out, "definitions": [_definition_document(each) for each in node.definitions]}


def _definition_document(node: DefinitionNode) -> dict[str, object]:
    definition = node.definition
    out: dict[str, object] = {"file": definition.file, "line": definition.line, "head": definition.head}
    if node.failing is not None:
        return {**out, "held": _conditions(node.failing.prefix), "fails": _failing_document(node.failing)}
    values = _values(node.operands, node.environments)
    return {
        **out,
        "held": _conditions(definition.bodies[0]),
        "fails": None,
        "value": definition.value_text,
        "values": values,
    }


def _conditions(statements: tuple[Statement, ...]) -> int:
    """Return how many statements say what has to hold, and do not only name a value."""
    return sum("AssignExpr" not in each.literal.get("Expr", {}).get("expr", {}) for each in statements)


def _failing_document(failing: Failing) -> dict[str, object]:
    statement = failing.statement
    out: dict[str, object] = {
        "line": statement.line,
        "source": statement.text,
        "values": _values(failing.operands, failing.environments),
        "needs": [rule_document(node) for node in failing.needs],
    }
    if failing.element is not None:
        out["element"] = {"name": failing.element[0], "value": shown(failing.element[1])}
    if failing.inner is not None:
        out["inner"] = _failing_document(failing.inner)
    return out


def _values(operands: tuple[str, ...], environments: tuple[Environment, ...]) -> list[dict[str, object]]:
    """Return what expressions are: at most a few values, one for each set of values of the names before."""
    out: list[dict[str, object]] = []
    for index, text in enumerate(operands):
        found = (environment.values[index] for environment in environments)
        flat = list(dict.fromkeys(shown(each[0]) for each in found if each))
        out.append({"expression": text, "values": flat[:_VALUES_SHOWN], "more": max(len(flat) - _VALUES_SHOWN, 0)})
    return out


def shown(value: Any) -> str:
    """Return a value as short JSON text."""
    text = orjson.dumps(value).decode()
    return text if len(text) <= _VALUE_CHARS_MAX else f"{text[:_VALUE_CHARS_MAX]}…"
