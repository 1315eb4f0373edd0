"""Static bearer tokens."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import UnauthenticatedError
from gateway.identity import ANONYMOUS, TOKEN_BYTES_MAX, Principal, TokenEntry, TokenTable


def entry(token: str, subject: str) -> TokenEntry:
    principal = Principal(subject=subject, tenant="default", roles=("submitter",))
    return TokenEntry(sha256=sha256(token.encode()).hexdigest(), principal=principal)


TABLE = TokenTable([entry("one", "ann"), entry("two", "bob"), entry("", "nobody"), entry("x" * 600, "long")])


def test_a_token_names_its_principal() -> None:
    """And no other, wherever in the table it stands."""
    assert TABLE.authenticate("one").subject == "ann"
    assert TABLE.authenticate("two").subject == "bob"


@pytest.mark.parametrize("token", ["", "On", "One", "one ", "onetwo", "x" * (TOKEN_BYTES_MAX + 1), "x" * 600, "\ud800"])
def test_any_other_token_is_refused_in_the_same_words(token: str) -> None:
    """Empty, nearly right, too long, not even text: one code, one message, even where a table has its digest."""
    with pytest.raises(UnauthenticatedError, match=r"^the bearer token is not accepted$") as caught:
        TABLE.authenticate(token)
    assert caught.value.code == "auth.unauthenticated"


@given(st.text())
def test_no_text_is_accepted_by_an_empty_table(token: str) -> None:
    """Without entries there is no token."""
    with pytest.raises(UnauthenticatedError):
        TokenTable([]).authenticate(token)


def test_every_entry_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first entry's token costs as many comparisons as an unknown one, so that time tells nothing."""
    compared: list[str] = []

    def compare(a: str, b: str) -> bool:
        compared.append(a)
        return a == b

    monkeypatch.setattr("gateway.identity.hmac.compare_digest", compare)
    TABLE.authenticate("one")
    assert len(compared) == 4


def test_a_principals_document_says_who_is_anonymous() -> None:
    """Policy tells a stranger from a token by a field, not by a name."""
    assert ANONYMOUS.document() == {
        "subject": "anonymous",
        "tenant": "default",
        "roles": ["anonymous"],
        "anonymous": True,
    }
    assert Principal(subject="anonymous", tenant="default").document()["anonymous"] is False
