"""Lets values be brought into a document that is itself a mission, without becoming references there.

What a reference brings in is text, never a reference; for the parameters of a sub-mission this has to hold once more,
when their document is parsed. So each `${` of such a value is written `$${`, which that parse turns back.
"""

from collections.abc import Iterator, Mapping

from engine.errors import StepError
from engine.reference import ItemScope, Scope
from engine.values import JsonValue


def escaped_scope(scope: Scope) -> Scope:
    """Return what references see where the result is parsed as a mission again.

    Looking at a value of it raises StepError (`reference.nested`) where a text ends in `$`: put before a `{`, it would
    make a reference that nobody wrote, and there is no way to write it that the second parse would turn back.
    """
    if isinstance(scope, ItemScope):
        return ItemScope(escaped_scope(scope.context), escaped(scope.item))
    return _EscapedScope(scope)


def escaped(value: JsonValue) -> JsonValue:
    """Return a copy in which every `${` of a text is written `$${`; names of members stay, for they hold no references.

    Raises:
        StepError: `reference.nested`, a text ends in `$`.
    """
    if isinstance(value, str):
        if value.endswith("$"):
            raise StepError(
                "a text that ends in $ cannot be put into a sub-mission", code="reference.nested", retryable=False
            )
        return value.replace("${", "$${")
    if isinstance(value, Mapping):
        return {key: escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [escaped(item) for item in value]
    return value


class _EscapedScope:
    """Another scope, with every value escaped when it is looked at."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @property
    def variables(self) -> Mapping[str, JsonValue]:
        return _EscapedValues(self._scope.variables)

    @property
    def step_outputs(self) -> Mapping[str, JsonValue]:
        return _EscapedValues(self._scope.step_outputs)


class _EscapedValues(Mapping[str, JsonValue]):
    def __init__(self, values: Mapping[str, JsonValue]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> JsonValue:
        return escaped(self._values[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
