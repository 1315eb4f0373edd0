"""What a replay says of a step: the same, another, or that it cannot be told, and why."""

from dataclasses import dataclass
from enum import StrEnum

from engine.values import JsonObject

MESSAGE_CHARS_MAX = 512


class Verdict(StrEnum):
    """The three answers."""

    SAME = "same"
    DIFFERS = "differs"
    NOT_REPRODUCIBLE = "not_reproducible"


class Reason(StrEnum):
    """Whose difference it is."""

    MODULE = "module"  # the module that ran is not here
    ENGINE = "engine"  # another version of the engine ran it, and gave something else
    INPUT = "input"  # the parameters, or what they are made of, are not those that the log names
    JOURNAL = "journal"  # what the step was told of its effects is not what the log says
    EFFECTS = "effects"  # it asks for other effects
    ERASED = "erased"  # what is recorded was erased; the one reason of what is not reproducible
    OUTPUT = "output"  # it gives another output, or another failure; or the store holds another


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """What came of one step. Without a step it is about the mission's document."""

    step_id: str
    verdict: Verdict
    reason: Reason | None = None  # of a difference, or ERASED
    message: str = ""  # why, in a sentence; names, codes and digests, never a payload
    recorded: str = ""  # a digest, or what else was compared
    replayed: str = ""
    item: int | None = None  # of a fan-out, where one is to blame
    rounds: int = 0  # runs of modules that were made again

    def document(self) -> JsonObject:
        """Return it as JSON."""
        return {
            "step_id": self.step_id,
            "verdict": self.verdict.value,
            "reason": self.reason.value if self.reason is not None else None,
            "message": self.message,
            "recorded": self.recorded,
            "replayed": self.replayed,
            "item": self.item,
            "rounds": self.rounds,
        }


class DifferenceFound(Exception):  # noqa: N818 - no error of the program: an answer, from wherever it is found
    """The replay has come to something else than what is recorded."""

    def __init__(self, reason: Reason, message: str, *, recorded: str = "", replayed: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.recorded = recorded
        self.replayed = replayed


class NotReproducible(Exception):  # noqa: N818 - as above
    """The step is not a function of what is recorded, or that is not here."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
