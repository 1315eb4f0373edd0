"""regorus for authors: any rule of a bundle, for any input, with rules added or data changed; each time on a clone.

The vetted bundle itself is never changed: an engine with other rules or other data is another engine.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import orjson
import regorus

from engine.values import JsonObject
from gateway.policy.answer import Status, decision_of
from gateway.policy.decision import Decision
from gateway.policy.engine import Entrypoint
from gateway.policy.evaluator import eval_rule
from gateway.policy.supplied import SUPPLIED, Spelling, install


@dataclass(frozen=True, slots=True)
class Answer:
    """What a rule came to."""

    status: Status
    value: Any = None  # of Status.VALUE
    message: str = ""  # of the others

    @property
    def defined(self) -> bool:
        """Whether there is a value."""
        return self.status is Status.VALUE

    @property
    def holds(self) -> bool:
        """Whether a statement that is this value would hold: it is there, and is not false."""
        return self.defined and self.value is not False

    def decision(self, entrypoint: Entrypoint, *, bundle: str) -> Decision:
        """Return the decision that this stands for, as a gateway would take it; every answer has one."""
        body = orjson.dumps(self.value) if self.defined else self.message.encode("utf-8", "replace")
        return decision_of(entrypoint, self.status, body, bundle=bundle)


class Interpreter:
    """One set of modules over one data document, prepared once."""

    def __init__(self, engine: Any, data: JsonObject, spelling: Spelling) -> None:
        self._engine = engine
        self._spelling = spelling  # one for all that come from one engine, whose builtins know it
        self.data = data

    @classmethod
    def of(cls, modules: Iterable[tuple[str, str]], data: JsonObject, *, coverage: bool = False) -> Self:
        """Prepare an engine.

        Args:
            modules: (path, text) of each file.
            data: the data document, from its root.
            coverage: whether `covered` will be asked for.

        Raises:
            RuntimeError: regorus does not accept a module; vetted ones it does.
        """
        engine, spelling = regorus.Engine(), Spelling(data)
        install(engine, SUPPLIED, spelling)  # all of them: a module that comes later may name any
        engine.set_enable_coverage(coverage)
        for path, text in modules:
            engine.add_policy(path, text)
        engine.add_data_json(orjson.dumps(data).decode())
        engine.eval_query_as_json("true")  # compiles everything, and evaluates nothing
        return cls(engine, data, spelling)

    def over(self, data: JsonObject) -> Self:
        """Return the same rules over other data."""
        engine = self._engine.clone()
        engine.clear_data()
        engine.add_data_json(orjson.dumps(data).decode())
        return type(self)(engine, data, self._spelling)

    def with_module(self, path: str, text: str) -> Self:
        """Return the same with one more file of rules.

        Raises:
            RuntimeError: regorus does not accept it.
        """
        engine = self._engine.clone()
        try:
            engine.add_policy(path, text)
            engine.eval_query_as_json("true")
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            raise RuntimeError("the engine broke") from error
        return type(self)(engine, self.data, self._spelling)

    def ask(self, rule: str, document: bytes | None = None) -> Answer:
        """Return what `rule` (`data.gateway.step.allow`) is for an input; never raises for what a policy does."""
        return self._ask(self._engine.clone(), rule, document)

    def covered(self, rule: str, document: bytes | None = None) -> tuple[Answer, dict[str, list[int]]]:
        """Return what `rule` is, and the lines that regorus looked at on the way, by file."""
        engine = self._engine.clone()
        answer = self._ask(engine, rule, document)
        report = orjson.loads(engine.get_coverage_report_as_json())
        return answer, {file["path"]: file["covered"] for file in report["files"]}

    def _ask(self, engine: Any, rule: str, document: bytes | None) -> Answer:
        self._spelling.begin(document or b"", data=self.data)
        status, text = eval_rule(engine, rule, document)
        return Answer(status, orjson.loads(text)) if status is Status.VALUE else Answer(status, message=text)
