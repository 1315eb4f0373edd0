"""Laws of signed hooks: any changed byte, anywhere, refuses."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.audit.keys import Ed25519Signer
from gateway.errors import HookRefusedError
from gateway.sandbox.hooks import hook_of
from gateway.sandbox.signature import publisher_of
from tests.hook_folders import ACME, files_of, publisher, signed

FILES = files_of()
TRUSTED = [publisher(ACME)]


@given(st.sampled_from(["manifest", "module", "schema", "signature"]), st.integers(min_value=0), st.integers(1, 255))
def test_any_changed_byte_of_any_file_refuses(name: str, at: int, mask: int) -> None:
    """Of the three files and of the signature itself: there is no byte that does not matter."""
    data = bytearray(getattr(FILES, name))
    data[at % len(data)] ^= mask
    assert_refused(replace(FILES, **{name: bytes(data)}))


@given(st.sampled_from(["manifest", "module", "schema"]), st.binary(min_size=1, max_size=64), st.booleans())
def test_bytes_that_are_added_refuse(name: str, more: bytes, before: bool) -> None:
    """In front or behind; whatever they are."""
    data = getattr(FILES, name)
    assert_refused(replace(FILES, **{name: more + data if before else data + more}))


@given(st.sampled_from(["manifest", "module", "schema", "signature"]), st.integers(min_value=0))
def test_a_file_that_is_cut_refuses(name: str, length: int) -> None:
    """At any place."""
    data = getattr(FILES, name)
    assert_refused(replace(FILES, **{name: data[: length % len(data)]}))


@given(st.binary(min_size=32, max_size=32))
def test_nobody_else_signs_in_the_publishers_name(seed: bytes) -> None:
    """Whatever key somebody has, the name of the publisher does not make it the publisher's."""
    forger = Ed25519Signer(ACME.name, seed)
    assume(forger.verifier_key() != ACME.verifier_key())
    assert_refused(signed(FILES, forger))


def assert_refused(files: object) -> None:
    """Require that the files are taken for no hook of the publisher, in the way in which the registry takes them."""
    with pytest.raises(HookRefusedError):
        hook_of(files, publisher=publisher_of(files, TRUSTED).name)
