"""What a recorded step was told of its effects: the store's entries, each held to what the log says of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from engine.values import JsonObject
from gateway.replay.digests import Digests
from gateway.replay.outcome import DifferenceFound, NotReproducible, Reason
from gateway.replay.trace import Asked, AttemptTrace, Told
from gateway.store.effect_records import EffectRecord, EffectState

_NOT_TOLD: Final = frozenset({"effect.in_doubt", "effect.diverged", "effect.interrupted"})  # the step ended with it


@dataclass(frozen=True, slots=True)
class Stopped:
    """The step went no further: refused, or nobody knows what came of an effect."""

    code: str


class RecordedJournal:
    """The effects of the last attempt at one step, or at one item of it."""

    def __init__(
        self,
        attempt: AttemptTrace,
        records: Sequence[EffectRecord],
        kept: Mapping[str, Mapping[str, Any]],
        digests: Digests,
    ) -> None:
        self._digests = digests
        self._attempt = attempt
        self._records = {record.index: record for record in records}
        self._kept = kept  # outcomes that an earlier process had not got into the log, by key

    def entry(self, asked: Asked) -> tuple[JsonObject, Told | None] | Stopped:
        """Return what the step was told of an effect, and how the log says it.

        Raises:
            DifferenceFound: `journal`, the store has another outcome than the log, or none.
            NotReproducible: the log does not say what came of it.
        """
        index = asked.index
        if index >= len(self._attempt.told):
            return self._not_told(asked)
        told = self._attempt.told[index]
        if told.details.get("op") != asked.op:
            raise DifferenceFound(
                Reason.EFFECTS,
                f"effect {index} is {asked.op}, and the log tells of another there",
                recorded=str(told.details.get("op")),
                replayed=asked.op,
            )
        code = str(told.details.get("code", ""))
        if told.event_type == "effect.failed" and code in _NOT_TOLD:
            return Stopped(code)
        if told.event_type == "effect.failed" and "entry" not in told.details:
            raise NotReproducible(f"it was stopped before it was told of effect {index} ({asked.op})")
        entry = self._stored(index)
        name, value = self._evidence(told, entry)
        recorded = str(told.details.get(name, ""))
        if value != recorded:
            message = f"the store's outcome of effect {index} ({asked.op}) is not the one that the log names"
            raise DifferenceFound(Reason.JOURNAL, message, recorded=recorded, replayed=value)
        return entry, told

    def _not_told(self, asked: Asked) -> tuple[JsonObject, Told | None] | Stopped:
        """Return what came of an effect that the attempt's own events do not tell of."""
        index = asked.index
        if (code := self._attempt.refused_later.get(index)) is not None:
            return Stopped(code)
        record = self._records.get(index)
        kept = None if record is None else self._kept.get(record.key)
        if record is not None and kept is not None:
            if "code" in kept:
                return Stopped(str(kept["code"]))
            entry = self._stored(index)
            mine = self._digests.of(entry.get("ok"))
            if mine == kept["outcome"]:
                return entry, None
            message = f"the store's outcome of effect {index} ({asked.op}) is not the one that the log names"
            raise DifferenceFound(Reason.JOURNAL, message, recorded=str(kept["outcome"]), replayed=mine)
        raise NotReproducible(f"the log does not say what came of effect {index} ({asked.op})")

    def _stored(self, index: int) -> JsonObject:
        record = self._records.get(index)
        settled = record is not None and record.state in {EffectState.PERFORMED, EffectState.FAILED}
        entry = _object(record.entry) if settled and record is not None else None
        if entry is None:
            raise DifferenceFound(Reason.JOURNAL, f"the store has no outcome of effect {index}, and the log has one")
        return entry

    def _evidence(self, told: Told, entry: JsonObject) -> tuple[str, str]:
        """Return which field of the event commits to an entry, or to a part of it, and what it should be."""
        if told.event_type == "effect.performed":
            return "outcome", self._digests.of(entry["ok"]) if set(entry) == {"ok"} else ""
        return "entry", self._digests.of(entry)


def _object(raw: bytes | None) -> JsonObject | None:
    try:
        entry = orjson.loads(raw or b"null")
    except orjson.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) else None
