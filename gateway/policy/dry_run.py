"""The mode dry_run: what the rules would refuse is let through, and marked, so that a bundle can be tried on the way.

Only a no that a rule has given is overruled. Where no rule answered, or none could be had, the answer stays a no; and
so does every no about calls: who may use the API at all is not tried out, since a dry run would make everybody admin.
"""

from dataclasses import replace

from gateway.policy.decision import Decision
from gateway.policy.engine import Entrypoint, PolicyEngine


class DryRunPolicy:
    """Implements `PolicyEngine` around another one."""

    def __init__(self, inner: PolicyEngine) -> None:
        self._inner = inner

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the bundle that answers."""
        return self._inner.digest

    async def decide(self, entrypoint: Entrypoint, document: bytes) -> Decision:
        """Decide one document; a rule's no is a yes with `would_deny`, and asks for no approval."""
        decision = await self._inner.decide(entrypoint, document)
        if entrypoint == "rpc" or decision.allow or decision.by_host:
            return decision
        return replace(decision, allow=True, would_deny=True, require_approval=None)
