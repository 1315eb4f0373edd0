"""What those who write policy and put it in force are told beside bundles and replays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from engine.values import JsonValue
from gateway.bundles.entry import BundleStatus
from gateway.policy.decision import Decision
from gateway.policy.shadow import Disagreement, ShadowCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowView:
    """A bundle that is asked too, and decides nothing."""

    counts: ShadowCounts
    latest: tuple[Disagreement, ...]  # the newest first


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStatus:
    """What is in force, where it comes from, and how it is asked."""

    bundles: BundleStatus
    engine: Literal["regorus", "opa"]
    mode: Literal["enforce", "dry_run"]
    shadow: ShadowView | None
    cache_hits: int
    cache_misses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a bundle says of a document."""

    decision: Decision
    explanation: Mapping[str, JsonValue] | None
