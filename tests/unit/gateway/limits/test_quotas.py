"""What missions take up, by tenant and by principal."""

from typing import Any

import pytest

from gateway.errors import LimitedError
from gateway.limits.quotas import MissionQuotas, StoredBytes
from gateway.limits_config import LimitsConfig

ANN, AMY, BOB = ("acme", "ann"), ("acme", "amy"), ("other", "bob")
NOTHING = StoredBytes()


def quotas(**tables: Any) -> MissionQuotas:
    return MissionQuotas(LimitsConfig.model_validate(tables).allowances())


def refusal(held: MissionQuotas, owner: tuple[str, str], steps: int = 1, stored: StoredBytes = NOTHING) -> LimitedError:
    with pytest.raises(LimitedError) as caught, held.place(owner, steps, stored):
        pass
    return caught.value


def test_missions_of_a_principal_and_of_a_tenant_are_bounded() -> None:
    """Each says which it is; another tenant has all of its own."""
    held = quotas(principal={"missions_running_max": 1}, tenant={"missions_running_max": 2})
    held.begin(ANN, 1, part=False)
    assert refusal(held, ANN).limit == "principal.missions_running_max"
    assert held.refused == {"principal.missions_running_max": 1}
    held.begin(AMY, 1, part=False)
    error = refusal(held, ("acme", "abe"))
    assert (error.code, error.limit, error.value) == ("limits.missions", "tenant.missions_running_max", 2)
    with held.place(BOB, 1, NOTHING):
        pass
    held.end(AMY, 1, part=False)
    with held.place(("acme", "abe"), 1, NOTHING):
        assert refusal(held, AMY).limit == "tenant.missions_running_max"


def test_steps_of_what_has_not_ended_are_bounded() -> None:
    """Those that are about to be begun count."""
    held = quotas(tenant={"steps_submitted_max": 10})
    with held.place(ANN, 6, NOTHING):
        assert refusal(held, AMY, 5).limit == "tenant.steps_submitted_max"
        with held.place(AMY, 4, NOTHING):
            assert refusal(held, BOB, 11).code == "limits.steps"
    assert held.document() == {"missions": 0, "steps": 0, "principals": 0, "tenants": 0}


def test_a_part_counts_and_takes_no_mission() -> None:
    """Its steps are its owner's, and what is begun beside it waits for them; it is never asked about itself."""
    held = quotas(principal={"missions_running_max": 1, "steps_submitted_max": 10})
    held.begin(ANN, 9, part=True)
    assert refusal(held, ANN, 2).limit == "principal.steps_submitted_max"
    with held.place(ANN, 1, NOTHING):
        held.begin(ANN, 100, part=True)
        held.end(ANN, 100, part=True)
    assert held.used(ANN) == (0, 9, 0, 9)


def test_stored_bytes_are_those_that_are_told() -> None:
    """Once they are used up nothing begins; what would use up the last of them does."""
    held = quotas(principal={"stored_bytes_max": 100}, tenants={"acme": {"stored_bytes_max": 150}})
    with held.place(ANN, 1, StoredBytes(tenant=149, principal=99)):
        pass
    error = refusal(held, ANN, 1, StoredBytes(tenant=100, principal=100))
    assert (error.code, error.limit) == ("limits.stored_bytes", "principal.stored_bytes_max")
    assert refusal(held, ANN, 1, StoredBytes(tenant=150)).limit == "tenants.acme.stored_bytes_max"
    assert error.retry_seconds > 0


def test_more_cannot_be_given_back_than_was_taken() -> None:
    """A count that went below nothing would let somebody have more for ever."""
    held = quotas()
    held.begin(ANN, 3, part=False)
    with pytest.raises(ValueError, match="given back"):
        held.end(ANN, 4, part=False)


def test_who_shares_places_hears_of_new_limits() -> None:
    """`SharedSlots.adopt` is such a one."""
    held, told = quotas(), []
    held.follow(lambda caps: told.append(caps("acme")))
    new = {"tenants": {"acme": {"steps_running_max": 7, "principal": {"steps_running_max": 3}}}}
    held.adopt(LimitsConfig.model_validate(new).allowances())
    assert told == [(7, 3)]
    assert held.slots("other") == (2_048, 2_048)
