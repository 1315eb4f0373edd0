"""regorus, prepared once: the module that talks to the engine, in policy workers and in process alike.

Every evaluation runs on a clone of the prepared engine (0.3 µs, the compiled policy is shared), which is thrown away:
nothing of one decision, an error in the middle of it least of all, can be seen by the next.
"""

from collections.abc import Iterable
from typing import Any, Final

import orjson
import regorus

from engine.values import JsonObject
from gateway.policy.answer import Status, encode_answer
from gateway.policy.engine import ENTRYPOINTS, Entrypoint, rule_of
from gateway.policy.supplied import Spelling, install, named

_UNDEFINED: Final = '"<undefined>"'  # regorus' spelling; a policy that answers this text is no decision either
_NO_SUCH_RULE: Final = "not a valid rule path"
_RULES: Final = {name: rule_of(name) for name in ENTRYPOINTS}
_BACKTRACE: Final = "\n\nStack backtrace:"


class Evaluator:
    """Answers requests from one set of modules and one data document."""

    def __init__(self, modules: Iterable[tuple[str, str]], data: JsonObject) -> None:
        """Prepare the engine.

        Args:
            modules: (path, text) of each policy file.
            data: the data document, from its root.

        Raises:
            RuntimeError: regorus does not accept a module; a vetted bundle has none of those.
        """
        self._engine = regorus.Engine()
        self._spelling = Spelling(data)
        texts = []
        for path, text in modules:
            self._engine.add_policy(path, text)
            texts.append(text)
        install(self._engine, named(texts), self._spelling)
        self._engine.add_data_json(orjson.dumps(data).decode())
        self._engine.eval_query_as_json("true")  # compiles everything, and evaluates nothing of the bundle

    def evaluate(self, entrypoint: Entrypoint, document: bytes) -> bytes:
        """Return the answer frame for one document; never raises for what a policy or a document does."""
        engine = self._engine.clone()
        self._spelling.begin(document)
        return encode_answer(*eval_rule(engine, _RULES[entrypoint], document))


def eval_rule(engine: Any, rule: str, document: bytes | None) -> tuple[Status, str]:
    """Return how an evaluation on a clone of an engine ended, with the value as JSON or why there is none.

    It never raises for what a policy or a document does: whatever goes wrong, there is no value.
    """
    try:
        if document is not None:
            engine.set_input_json(document.decode())
        answer = engine.eval_rule_as_json(rule)
    except (RuntimeError, ValueError) as error:
        text = str(error).partition(_BACKTRACE)[0].strip()
        return Status.UNDEFINED if text == _NO_SUCH_RULE else Status.FAILED, text
    except Exception as error:  # noqa: BLE001 - fail closed: whatever it was, it is a no
        return Status.PANICKED, type(error).__name__
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # pyo3's, a BaseException that has no importable name
            raise
        return Status.PANICKED, "the engine broke"
    return (Status.UNDEFINED, "") if answer == _UNDEFINED else (Status.VALUE, answer)
