"""The mode dry_run: which no is overruled, and which is not."""

import pytest

from gateway.errors import Reason
from gateway.policy.decision import Decision, denied
from gateway.policy.dry_run import DryRunPolicy
from gateway.policy.engine import ENTRYPOINTS, Entrypoint
from gateway.policy.obligations import ApprovalDemand

RULE = Reason("step.closed", "it is closed", "data.gateway.step.deny")


class Answers:
    """An engine with one answer."""

    digest = "sha256:a"

    def __init__(self, decision: Decision) -> None:
        self.decision = decision

    async def decide(self, _entrypoint: Entrypoint, _document: bytes) -> Decision:
        return self.decision


@pytest.mark.parametrize("entrypoint", [name for name in ENTRYPOINTS if name != "rpc"])
async def test_a_no_of_a_rule_is_let_through_and_marked(entrypoint: Entrypoint) -> None:
    """The reasons stay: they are what the dry run is for."""
    policy = DryRunPolicy(Answers(Decision(allow=False, bundle="sha256:a", reasons=(RULE,))))
    decision = await policy.decide(entrypoint, b"{}")
    assert (decision.allow, decision.would_deny, decision.reasons) == (True, True, (RULE,))
    assert decision.document()["would_deny"] is True
    assert policy.digest == "sha256:a"


async def test_calls_are_decided_as_ever() -> None:
    """A dry run of who may call would open the whole API."""
    policy = DryRunPolicy(Answers(Decision(allow=False, bundle="sha256:a", reasons=(RULE,))))
    decision = await policy.decide("rpc", b"{}")
    assert (decision.allow, decision.would_deny) == (False, False)


@pytest.mark.parametrize("code", ["policy.timeout", "policy.undefined", "policy.malformed", "policy.crashed"])
async def test_where_no_rule_has_answered_the_answer_stays_no(code: str) -> None:
    """What fails is not tried out."""
    policy = DryRunPolicy(Answers(denied(code, "why", bundle="sha256:a")))
    decision = await policy.decide("step", b"{}")
    assert (decision.allow, decision.would_deny) == (False, False)


async def test_a_yes_stays_as_it_is() -> None:
    """With all that it obliges to."""
    yes = Decision(allow=True, bundle="sha256:a", profile="fast", require_approval=ApprovalDemand())
    assert await DryRunPolicy(Answers(yes)).decide("step", b"{}") is yes
