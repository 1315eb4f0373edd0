"""Questions about parts of rules, asked of regorus: the first statement that does not hold, and for what values.

For each question a file of rules is made, in the package and with the imports of the rule that it is about, and
evaluated for the same input. What is made is cut out of vetted rules; it is never part of a decision.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.policy.answer import Status
from gateway.policy.authoring.interpreter import Answer, Interpreter
from gateway.policy.authoring.program import Definition, Statement, outer_names
from gateway.policy.rego_ast import ParsedModule

ENVIRONMENTS_MAX: Final = 8
EVALUATIONS_MAX: Final = 2_000
_PROBE: Final = "explain__probe"
_VALUE: Final = "explain__value"
_FILE: Final = "explain/probe.rego"


class SpentError(Exception):
    """The time, or the number of evaluations, is used up: what is known is all there will be."""


class Budget:
    """What an explanation may cost."""

    def __init__(self, clock: Callable[[], float], deadline_ms: int, evaluations_max: int = EVALUATIONS_MAX) -> None:
        self._clock = clock
        self._end = clock() + deadline_ms / 1_000
        self._left = evaluations_max
        self.used = 0

    def spend(self) -> None:
        """Count one evaluation.

        Raises:
            SpentError: there is none left, or no time.
        """
        if self.used >= self._left or self._clock() > self._end:
            raise SpentError
        self.used += 1


@dataclass(frozen=True, slots=True)
class Given:
    """A statement that goes before those asked about, and the names that it gives values to."""

    text: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Environment:
    """One set of values for the names of a body, and what some expressions are with them."""

    names: dict[str, Any]
    values: tuple[tuple[Any, ...], ...]  # by expression: empty where it is undefined, else its first values


def names_of(statements: Sequence[Statement]) -> set[str]:
    """Return the names that statements declare."""
    return {name for each in statements for name in outer_names(each.literal)}


class Prober:
    """Asks about one bundle and one input."""

    def __init__(self, interpreter: Interpreter, document: bytes | None, budget: Budget) -> None:
        self.interpreter = interpreter
        self.document = document
        self.budget = budget
        self.input: Any = None if document is None else orjson.loads(document)

    def ask(self, rule: str) -> Answer:
        """Return what a rule is.

        Raises:
            SpentError: the budget is used up.
        """
        self.budget.spend()
        return self.interpreter.ask(rule, self.document)

    def first_failing(
        self, module: ParsedModule, given: Sequence[Given], statements: Sequence[Statement]
    ) -> int | None:
        """Return the first statement with which the body holds for no values any more; None where all hold.

        Args:
            module: the file that the statements are from.
            given: statements to begin with: values of arguments.
            statements: the body.

        Raises:
            SpentError: the budget is used up.
        """
        texts = [*(each.text for each in given), *(each.text for each in statements)]
        rules = []
        for count in range(len(given), len(texts) + 1):
            body = "\n\t".join(texts[:count]) or "true"
            rules.append(f"{_PROBE}_{count - len(given)} if {{\n\t{body}\n}}")
        prepared = self._prepared(module, rules)
        if prepared is None:
            return None
        for count in range(len(statements) + 1):
            if not self._probe(prepared, module, f"{_PROBE}_{count}").holds:
                return max(count - 1, 0)
        return None

    def environments(
        self, module: ParsedModule, given: Sequence[Given], statements: Sequence[Statement], expressions: Sequence[str]
    ) -> tuple[Environment, ...]:
        """Return the values of names for which all of `statements` hold, and those of expressions with them.

        Args:
            module: the file that all are from.
            given: statements to begin with: values of arguments, `x := 1`.
            statements: what has to hold.
            expressions: texts to evaluate.

        Raises:
            SpentError: the budget is used up.
        """
        names = sorted({name for each in given for name in each.names} | names_of(statements))
        pairs = ", ".join(f'"{name}": {name}' for name in names)
        lists = ", ".join(f"[{_VALUE} | {_VALUE} := {expression}]" for expression in expressions)
        body = "\n\t".join([*(each.text for each in given), *(each.text for each in statements)]) or "true"
        rule = f"{_PROBE} := [[{{{pairs}}}, [{lists}]] |\n\t{body}\n]"
        prepared = self._prepared(module, [rule])
        if prepared is None:
            return ()
        answer = self._probe(prepared, module, _PROBE)
        if not answer.defined:
            return ()
        seen: dict[bytes, Environment] = {}
        for found, values in answer.value:
            key = orjson.dumps([found, values])
            if key not in seen and len(seen) < ENVIRONMENTS_MAX:
                seen[key] = Environment(found, tuple(tuple(each[:ENVIRONMENTS_MAX]) for each in values))
        return tuple(seen.values())

    def definition_value(self, definition: Definition) -> Answer:
        """Return what one definition alone gives.

        Raises:
            SpentError: the budget is used up.
        """
        ((_, head),) = definition.rule.node["head"].items()
        refr = head["refr"]
        name = (refr["RefBrack"]["refr"] if "RefBrack" in refr else refr)["Var"]["span"]
        start = definition.rule.node["span"]["start"]
        text = definition.text.encode()
        end = name["end"] - start
        prepared = self._prepared(definition.module, [_PROBE + text[end:].decode()])
        return Answer(Status.UNDEFINED) if prepared is None else self._probe(prepared, definition.module, _PROBE)

    def _probe(self, prepared: Interpreter, module: ParsedModule, name: str) -> Answer:
        self.budget.spend()
        return prepared.ask(".".join((*module.package, name)), self.document)

    def _prepared(self, module: ParsedModule, rules: Sequence[str]) -> Interpreter | None:
        """Return an engine with rules beside those of a file; None where regorus does not take them."""
        self.budget.spend()
        imports = [
            f"import {'.'.join(target)}" + (f" as {alias}" if target[-1] != alias else "")
            for alias, target in module.aliases.items()
        ]
        package = ".".join(module.package[1:])
        text = "\n\n".join([f"package {package}", "import rego.v1", *imports, *rules])
        try:
            return self.interpreter.with_module(_FILE, text + "\n")
        except RuntimeError:
            return None
