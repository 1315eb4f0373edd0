"""Fan-outs while they run: which item is next, what has come of the others, and what the step's output is."""

from collections.abc import Sequence
from typing import Final

import orjson

from engine.context import ExecutionContext
from engine.errors import StepError
from engine.json_copy import NotJsonError, encode, read_back
from engine.plan import ItemSource
from engine.result import StepFailure
from engine.values import JsonValue

_NULL: Final = b"null"
_COMMA: Final = 1  # byte between two outputs


class FanOut:
    """The items of one step. An output is kept as its JSON, so that nobody changes it, and its size is known."""

    __slots__ = (
        "_bytes_left",
        "_limit",
        "_next",
        "_outputs",
        "again",
        "done",
        "failed",
        "failure",
        "index",
        "items",
        "queued",
        "running",
        "stopped",
    )

    def __init__(self, index: int, items: Sequence[JsonValue], *, parallel_limit: int | None, bytes_max: int) -> None:
        self.index: Final = index
        self.items: Final = items
        self.running: dict[int, int] = {}  # key of an attempt → its item
        self.done = 0  # items that have come to their end
        self.failed = 0
        self.failure: StepFailure | None = None  # of the first item that failed
        self.again = False  # whether starting anew may mend all failures
        self.stopped = False  # no further item starts
        self.queued = True  # the step is among the ready
        self._outputs: list[bytes] = [_NULL] * len(items)
        self._bytes_left = bytes_max
        self._limit = len(items) if parallel_limit is None else parallel_limit
        self._next = 0

    @property
    def may_start(self) -> bool:
        """Whether another item may start now."""
        return not self.stopped and self._next < len(self.items) and len(self.running) < self._limit

    @property
    def is_over(self) -> bool:
        """Whether no item runs, and none will."""
        return not self.running and (self.stopped or self._next == len(self.items))

    @property
    def is_whole(self) -> bool:
        """Whether every item has been run to its end."""
        return not self.running and self.done == len(self.items)

    def start(self, key: int) -> int:
        """Give the next item to the attempt `key`, and return its number."""
        item = self._next
        self._next += 1
        self.running[key] = item
        return item

    def keep(self, item: int, output: JsonValue) -> None:
        """Keep the output of an item.

        Raises:
            StepError: `context.output_invalid`, no JSON; `context.output_too_large`, all of them are too much.
        """
        try:
            encoded = encode(output)
            read_back(encoded, output)
        except NotJsonError as error:
            message = f"the output is not JSON: {error}"
            raise StepError(message, code="context.output_invalid", retryable=False) from error
        self._bytes_left -= len(encoded) + _COMMA
        if self._bytes_left < 0:
            message = "the outputs of the items together are more than a step may return"
            raise StepError(message, code="context.output_too_large", retryable=False)
        self._outputs[item] = encoded
        self.done += 1

    def fail(self, item: int, failure: StepFailure, *, again: bool) -> None:
        """Note that an item has failed; the first is the one to blame."""
        self.failed += 1
        self.done += 1
        self.again = again and (self.failure is None or self.again)
        if self.failure is None:
            self.failure = StepFailure(code=failure.code, message=f"item {item}: {failure.message}")

    def output(self) -> JsonValue:
        """Return the outputs in the order of the items, null where an item gave none."""
        value: JsonValue = orjson.loads(b"[" + b",".join(self._outputs) + b"]")
        return value

    def blame(self) -> StepFailure:
        """Return why the step has failed."""
        first = f": {self.failure.message} [{self.failure.code}]" if self.failure is not None else ""
        message = f"{self.failed} of {len(self.items)} items failed{first}"
        return StepFailure(code="foreach.item_failed", message=message)


class FanOuts:
    """The fan-outs of one execution, by step and by the key of an attempt at an item."""

    def __init__(self, steps: int, context: ExecutionContext) -> None:
        self._context = context
        self._by_step: dict[int, FanOut] = {}
        self._by_key: dict[int, FanOut] = {}
        self._next_key = steps  # keys below are those of the steps themselves
        self._units_left = context.limits.steps_max - steps  # that items may add to the steps

    def of(self, index: int) -> FanOut | None:
        """Return the fan-out of a step, once it is opened."""
        return self._by_step.get(index)

    def index_of(self, key: int) -> int:
        """Return the step of an attempt."""
        fan = self._by_key.get(key)
        return key if fan is None else fan.index

    def open(self, index: int, source: ItemSource) -> FanOut:
        """Find out of which items a step consists.

        Raises:
            StepError: as `source.items`; `foreach.too_many`, with them the mission would have too many steps.
        """
        items = source.items(self._context)
        if len(items) - 1 > self._units_left:
            message = f"{len(items)} items are more than the steps that the mission may still have"
            raise StepError(message, code="foreach.too_many", retryable=False)
        self._units_left -= len(items) - 1
        bytes_max = self._context.limits.output_bytes_max
        fan = FanOut(index, items, parallel_limit=source.parallel_limit, bytes_max=bytes_max)
        self._by_step[index] = fan
        return fan

    def start(self, fan: FanOut) -> tuple[int, int]:
        """Return the key of an attempt at the next item, and the item's number."""
        key = self._next_key
        self._next_key += 1
        self._by_key[key] = fan
        return key, fan.start(key)

    def left(self, key: int) -> tuple[FanOut, int] | None:
        """Take an attempt off its fan-out, and return that and the item; None where the key is a step's."""
        fan = self._by_key.pop(key, None)
        return None if fan is None else (fan, fan.running.pop(key))

    def stop(self) -> None:
        """Let no further item start."""
        for fan in self._by_step.values():
            fan.stopped = True

    def forget(self, index: int) -> None:
        """Let a step be opened anew."""
        fan = self._by_step.pop(index, None)
        if fan is not None:
            self._units_left += len(fan.items) - 1
