"""Static bearer tokens."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.authn.tokens import TOKEN_BYTES_MAX, TokenEntry, TokenTable
from gateway.errors import UnauthenticatedError
from gateway.identity import Principal
from tests.bundle_worlds import ManualClock

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def entry(token: str, subject: str, expires: datetime | None = None) -> TokenEntry:
    principal = Principal(subject=subject, tenant="default", roles=("submitter",))
    return TokenEntry(sha256=sha256(token.encode()).hexdigest(), principal=principal, expires=expires)


ENTRIES = [entry("one", "ann"), entry("two", "bob"), entry("", "nobody"), entry("x" * 600, "long")]
TABLE = TokenTable(ENTRIES, ManualClock(NOW))


def test_a_token_names_its_principal() -> None:
    """And no other, wherever in the table it stands."""
    assert [found.subject for token in ("one", "two") if (found := TABLE.find(token))] == ["ann", "bob"]


@pytest.mark.parametrize("token", ["", "On", "One", "one ", "onetwo", "x" * (TOKEN_BYTES_MAX + 1), "x" * 600, "\ud800"])
def test_no_other_token_names_anybody(token: str) -> None:
    """Empty, nearly right, too long, not even text, even where a table has its digest."""
    assert TABLE.find(token) is None


@given(st.text())
def test_no_text_is_accepted_by_an_empty_table(token: str) -> None:
    """Without entries there is no token."""
    assert TokenTable([], ManualClock(NOW)).find(token) is None


def test_every_entry_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first entry's token costs as many comparisons as an unknown one, so that time tells nothing."""
    compared: list[str] = []

    def compare(a: str, b: str) -> bool:
        compared.append(a)
        return a == b

    monkeypatch.setattr("gateway.authn.tokens.hmac.compare_digest", compare)
    TABLE.find("one")
    assert len(compared) == 4


def test_a_token_ends_when_its_entry_says() -> None:
    """To the second, in the words of any refusal; the code says why to nobody but the counters."""
    clock = ManualClock(NOW)
    table = TokenTable([entry("one", "ann", NOW + timedelta(seconds=60))], clock)
    clock.pass_(59)
    assert table.find("one") is not None
    clock.pass_(1)
    with pytest.raises(UnauthenticatedError, match=r"^the bearer token is not accepted$") as caught:
        table.find("one")
    assert (caught.value.code, caught.value.check) == ("auth.unauthenticated", "token_expired")


def test_what_is_adopted_replaces_what_was() -> None:
    """A token that is gone from the configuration is gone."""
    table = TokenTable(ENTRIES, ManualClock(NOW))
    table.adopt([entry("three", "cid")])
    assert [table.find(token) is None for token in ("one", "two", "three")] == [True, True, False]
