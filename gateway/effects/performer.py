"""The table of operations: one request in, one recorded outcome out.

Codes that an effect error may carry, beside those of `gateway.effects.failures` (files):

effect.unknown_op, effect.arguments, effect.timeout, effect.overloaded, effect.outcome_too_large, effect.internal
effect.path_invalid, effect.too_large, effect.workspace_full, effect.workspace_closed          files
effect.blob_unknown, effect.blob_damaged, effect.blobs_full                                    blobs
effect.url_refused, effect.header_refused, effect.address_refused, effect.name_not_resolved,
effect.connect_failed, effect.tls_failed, effect.connection_lost, effect.protocol              HTTP
effect.secret_closed, effect.secret_foreign, effect.secret_not_text, effect.secret_plaintext,
effect.secret_compressed, effect.secret_unavailable                                            secrets in HTTP
effect.approval_denied, effect.approval_expired, effect.approval_withdrawn,
effect.approval_unbound                                                                        approvals
effect.mission_failed, effect.mission_refused                                                  sub-missions
effect.command_refused, effect.command_unavailable, effect.command_failed, effect.command_lost,
effect.unavailable                                                                             commands
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

import orjson

from engine.values import JsonObject
from gateway.effects.limits import DEFAULT_LIMITS, EffectLimits
from gateway.effects.workspace import Workspace
from gateway.errors import EffectError
from gateway.identity import Principal
from gateway.vault.opened import NO_EFFECT_SECRETS, EffectSecrets

OUTCOME_BYTES_MAX: Final = 256 * 1024  # a step's whole journal, as JSON
SECONDS_MAX: Final = 60.0  # of one effect that does something; the step's own timeout may end it sooner

NOBODY: Final = Principal(subject="", tenant="", roles=())  # no policy grants it anything

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectRequest:
    """One effect that sanitizer and policy have passed, and whose intent is durable."""

    op: str  # "file.write"
    args: JsonObject
    key: str  # gateway.effects.keys
    timeout_seconds: float  # for the whole effect; infinite for what waits for a person or for a mission


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectScope:
    """On whose behalf an effect is performed, and the only directory that it may touch.

    What is left out gives least: nobody's roles, and a digest that no approval can be bound to.
    """

    workspace: Workspace
    mission_id: str
    step_id: str
    item: int | None = None  # of a fan-out, from 0; None: the step is none
    caller: Principal = NOBODY  # who submitted the mission
    taint: frozenset[str] = frozenset()  # of mission.run: labels of what the step was given
    bundle: str = ""  # of the decision that allowed the effect
    digest: str = ""  # "sha256:…" of the effect's policy document: what an approval is bound to
    limits: EffectLimits = DEFAULT_LIMITS  # of files and blobs
    secrets: EffectSecrets = NO_EFFECT_SECRETS  # whose handles stand in the arguments
    masked: frozenset[str] = frozenset()  # contents of the outcome, or `*`, that nobody will see: they need not be kept
    waiting: Callable[[], AbstractAsyncContextManager[None]] = nullcontext  # frees the step's place while it waits


class Performer(Protocol):
    """Performs one operation."""

    @property
    def seconds_max(self) -> float:
        """How long it may take, whatever the step's own timeout leaves; infinite for what waits for somebody."""

    def repeatable(self, args: JsonObject) -> bool:
        """Return whether doing it twice leaves the world as doing it once; if not, its failures may be in doubt."""

    async def perform(self, request: EffectRequest, scope: EffectScope) -> JsonObject:
        """Do it within `request.timeout_seconds` and return the outcome document.

        Raises:
            EffectError: it was not done, or `in_doubt`.
        """


class Effects:
    """Every operation that this gateway can perform. There is no other way from a guest to the world."""

    def __init__(self, performers: Mapping[str, Performer], *, outcome_bytes_max: int = OUTCOME_BYTES_MAX) -> None:
        self._performers = MappingProxyType(dict(performers))
        self._outcome_bytes_max = outcome_bytes_max

    @property
    def ops(self) -> frozenset[str]:
        """The names of the operations."""
        return frozenset(self._performers)

    def seconds_max(self, op: str) -> float:
        """Return how long an operation may take; one that is not there takes no time to be refused."""
        performer = self._performers.get(op)
        return performer.seconds_max if performer is not None else SECONDS_MAX

    def repeatable(self, op: str, args: JsonObject) -> bool:
        """Return whether doing it twice leaves the world as doing it once; of what is not there, nobody knows."""
        performer = self._performers.get(op)
        return performer is not None and performer.repeatable(args)

    async def perform(self, request: EffectRequest, scope: EffectScope) -> JsonObject:
        """Perform one effect and return its outcome document, at most `outcome_bytes_max` bytes of JSON.

        Raises:
            EffectError: it was not performed, or `in_doubt`: it may have been, and must not be repeated unasked.
        """
        performer = self._performers.get(request.op)
        if performer is None:
            raise EffectError(f"{request.op!r} is not an effect of this gateway", code="effect.unknown_op")
        try:
            outcome = await performer.perform(request, scope)
            size = len(orjson.dumps(outcome))
        except EffectError:
            raise
        except Exception as err:  # a bug must neither leak its text nor pass for "not done"
            _log.exception("effect %s of step %s failed unexpectedly", request.op, scope.step_id)
            raise EffectError("the effect failed inside the gateway", code="effect.internal", in_doubt=True) from err
        if size > self._outcome_bytes_max:
            raise EffectError(
                f"the outcome has {size} bytes, and a journal holds {self._outcome_bytes_max}",
                code="effect.outcome_too_large",
                in_doubt=not performer.repeatable(request.args),
            )
        return outcome
