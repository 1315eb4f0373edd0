"""The embedded engine, in this process: for tests, `missiongate plan` and library use.

It has no timer and holds the interpreter while it runs, so a gateway that serves uses `gateway.policy.pool`.
"""

from gateway.policy import answer
from gateway.policy.bundle import Bundle
from gateway.policy.decision import Decision
from gateway.policy.engine import Entrypoint
from gateway.policy.evaluator import Evaluator


class RegorusEngine:
    """Answers from one vetted bundle, with nothing that bounds the time of a decision."""

    def __init__(self, bundle: Bundle) -> None:
        self._evaluator = Evaluator(bundle.sources, bundle.document)
        self._digest = bundle.digest

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the bundle that answers."""
        return self._digest

    async def decide(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        """Decide one document; whatever goes wrong is a deny (`PolicyEngine.decide`)."""
        return answer.decide(entrypoint, self._evaluator.evaluate(entrypoint, document), bundle=self._digest)
