"""Principals."""

from gateway.identity import ANONYMOUS, Principal


def test_a_principals_document_says_who_is_anonymous() -> None:
    """Policy tells a stranger from a token by a field, not by a name."""
    assert ANONYMOUS.document() == {
        "subject": "anonymous",
        "tenant": "default",
        "roles": ["anonymous"],
        "anonymous": True,
    }
    assert Principal(subject="anonymous", tenant="default").document()["anonymous"] is False
