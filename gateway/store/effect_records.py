"""Effects as the store takes and gives them: the journal from which a step that is begun again goes on."""

from dataclasses import dataclass
from enum import StrEnum


class EffectState(StrEnum):
    """Intended, and then one of the others."""

    INTENDED = "intended"  # may have been performed: after a crash nobody knows
    PERFORMED = "performed"  # never again
    FAILED = "failed"  # was not performed
    IN_DOUBT = "in_doubt"  # nobody knows, and a person decides


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectRecord:
    """One effect of a step, or of one item of a fan-out."""

    step_id: str
    item: int | None  # of a fan-out, from 0; None: the step is none
    index: int  # among the effects of the step or item, from 0
    key: str  # gateway.effects.keys
    op: str  # "file.write"
    now: str  # what the module was told of the time and of chance when it asked, so that it asks the same again
    seed: str
    state: EffectState = EffectState.INTENDED
    entry: bytes | None = None  # the journal's JSON, {"ok":…} or {"error":…}; None while intended or in doubt
