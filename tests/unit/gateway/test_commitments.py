"""Commitments: what the log has in place of a value, and that nothing hidden gets there by mistake."""

import hashlib
import hmac
import os

import orjson
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from engine.audit.errors import AuditEventRefusedError
from engine.audit.keys import Ed25519Signer
from engine.audit.log import AuditLog
from engine.clock import SystemClock
from gateway.commitments import Commitments, Hidden

KEY = bytes(range(32))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=12,
)


def test_a_commitment_is_made_as_the_format_says() -> None:
    """HMAC-SHA256 of the canonical form, under HKDF-SHA256 of the key with the info `commitments`: by hand."""
    own = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"commitments").derive(KEY)
    told = b'{"a":[1,null],"\xc3\xa9":"x"}'
    assert Commitments(KEY).of({"é": "x", "a": [1, None]}) == "hmac-sha256:" + hmac.new(own, told, "sha256").hexdigest()


def test_bytes_are_committed_to_as_they_are() -> None:
    """A document that policy saw is bytes already: another spelling of the same value is another document."""
    commitments = Commitments(KEY)
    assert commitments.of(b'{"a":1}') == commitments.of({"a": 1})
    assert commitments.of(b'{"a": 1}') != commitments.of({"a": 1})


@given(one=VALUES, other=VALUES)
def test_equal_values_have_one_commitment_and_others_another(one: object, other: object) -> None:
    """Under one key; under another, the same value has another."""
    commitments = Commitments(KEY)
    same = orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)
    assert (commitments.of(one) == commitments.of(other)) is same
    assert commitments.of(one) != Commitments(os.urandom(32)).of(one)


def test_who_has_not_the_key_cannot_try_values() -> None:
    """A commitment to a short value is no digest of it, with the prefix of none."""
    told = Commitments(KEY).of("yes")
    raw = orjson.dumps("yes")
    guesses = [hashlib.sha256(raw).hexdigest(), hmac.new(b"", raw, "sha256").hexdigest()]
    assert told.removeprefix("hmac-sha256:") not in guesses


def test_the_key_of_an_effect_is_no_commitment() -> None:
    """Or a client's own value could be made to look like the key of an act."""
    commitments = Commitments(KEY)
    assert commitments.of(b"x") != "hmac-sha256:" + commitments.of_effect(b"x")


def test_what_is_hidden_is_found_however_deep() -> None:
    """In lists and objects of details; what is not hidden stays as it is."""
    commitments = Commitments(KEY)
    details = {"a": 1, "b": Hidden("x"), "c": [{"d": Hidden({"e": 2})}, "f"], "g": {"h": [Hidden(b"y")]}}
    assert commitments.commit(details) == {
        "a": 1,
        "b": commitments.of("x"),
        "c": [{"d": commitments.of({"e": 2})}, "f"],
        "g": {"h": [commitments.of(b"y")]},
    }


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_has_32_bytes(length: int) -> None:
    """A short key would be guessed in the value's place."""
    with pytest.raises(ValueError, match="32 bytes"):
        Commitments(bytes(length))


async def test_the_log_takes_nothing_that_is_hidden(tmp_path: object) -> None:
    """An event that is recorded without a key is refused, and its value is nowhere."""
    log = AuditLog.open(tmp_path / "audit", signer=Ed25519Signer.generate("t/log"), clock=SystemClock())  # type: ignore[operator]
    try:
        with pytest.raises(AuditEventRefusedError):
            log.append("test.event", actor="a", target="t", details={"value": Hidden("canary")})  # type: ignore[dict-item]
        await log.durable(log.append("test.event", actor="a", target="t", details={}))
    finally:
        await log.close()
    assert "canary" not in repr(Hidden("canary"))
