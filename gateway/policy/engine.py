"""What the gateway asks of a policy engine: one document in, one decision out, never an exception for a bad answer."""

from typing import Protocol

from gateway.policy.decision import Decision
from gateway.policy.entrypoint import ENTRYPOINTS, Entrypoint, rule_of

__all__ = ["ENTRYPOINTS", "Entrypoint", "PolicyEngine", "StartedEngine", "rule_of"]


class PolicyEngine(Protocol):
    """Answers from one bundle, loaded when the engine was made. A new bundle is a new engine."""

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the bundle that answers; every decision carries it."""

    async def decide(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        """Decide one document, JSON as `gateway.policy.document` builds it.

        Whatever goes wrong is a deny with one reason: `policy.undefined` (no rule answered), `policy.malformed`
        (the answer is no decision), `policy.obligation_unsupported` (it asks of the host what cannot be done there),
        `policy.failed` (the engine refused the evaluation), `policy.timeout`, `policy.crashed`. Only cancellation is
        raised.
        """


class StartedEngine(PolicyEngine, Protocol):
    """An engine that has resources of its own."""

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that evaluate; none where they are not ours."""

    @property
    def able(self) -> bool:
        """Whether it could answer now, as far as can be told without asking it."""

    async def turn(self) -> None:
        """Return once a question would be with who evaluates it, if it were put now; at once where nobody can know.

        Raises:
            WorkerError: it would not be.
        """

    async def start(self) -> None:
        """Return once it can answer.

        Raises:
            EngineError: it will not.
        """

    async def close(self) -> None:
        """Let decisions under way end, and give back what it has."""
