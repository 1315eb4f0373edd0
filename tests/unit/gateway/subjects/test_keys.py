"""The keys of the table of subjects: tags find, seals hide, and nothing opens in another's place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import StoreError
from gateway.subjects.keys import SubjectKeys

KEYS = SubjectKeys(bytes(32))
TEXT = st.text(max_size=20)


@given(one=st.tuples(TEXT, TEXT), other=st.tuples(TEXT, TEXT))
def test_no_two_people_have_one_tag(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Wherever tenant ends and subject begins; and nobody has that of callers without a credential."""
    assert (KEYS.tag(*one) == KEYS.tag(*other)) is (one == other)
    assert KEYS.tag(*one) != KEYS.anonymous_tag()


def test_a_slash_moves_nobody_into_another_tenant() -> None:
    """`a/b` and `c` are not `a` and `b/c`."""
    assert KEYS.tag("a/b", "c") != KEYS.tag("a", "b/c")


def test_a_name_opens_for_its_pseudonym_only() -> None:
    """A row that was put in the place of another is unreadable, and so is one of another key."""
    sealed = KEYS.seal_name("s-1", "acme", "ann")
    assert KEYS.open_name("s-1", sealed) == ("acme", "ann")
    assert b"ann" not in sealed
    for keys, pseudonym, changed in [
        (KEYS, "s-2", sealed),
        (SubjectKeys(bytes([1]) * 32), "s-1", sealed),
        (KEYS, "s-1", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (KEYS, "s-1", b""),
    ]:
        with pytest.raises(StoreError) as caught:
            keys.open_name(pseudonym, changed)
        assert caught.value.code == "subject.unreadable"


def test_a_name_is_no_key() -> None:
    """What is sealed as the one does not open as the other."""
    assert len(KEYS.open_key("s-1", KEYS.new_key("s-1"))) == 32
    with pytest.raises(StoreError):
        KEYS.open_key("s-1", KEYS.seal_name("s-1", "acme", "ann"))


def test_each_person_has_a_key_of_its_own() -> None:
    """Or the erasure of one would leave what it was made with to another."""
    assert KEYS.open_key("s-1", KEYS.new_key("s-1")) != KEYS.open_key("s-1", KEYS.new_key("s-1"))
