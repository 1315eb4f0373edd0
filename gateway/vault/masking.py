"""Takes the values of secrets out of what came back, before anybody sees it.

A value is looked for in every form of `gateway.vault.echoes`: as it is, also in UTF-16, in base64 (both alphabets, at
each of the three ways in which it can lie in a longer text), in hexadecimal, percent-encoded, and escaped as JSON, HTML
and XML are. That is all that an honest service does with a header that it echoes. A service that means to give the
value away can: compressed, split, reversed, encrypted (docs/secrets.md). No regular expressions: `re` keeps what it
compiles.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.vault.echoes import forms_of
from gateway.vault.names import mask_of

_ROUNDS_MAX: Final = 3


Forms = Sequence[tuple[bytes, bytes]]  # what is looked for, and what is written in its place


def masked(data: bytes, secrets: Mapping[str, bytes | bytearray]) -> bytes:
    """Return `data` with every form of every value replaced by `[secret:NAME]`; none of them is left in the result."""
    return without(data, forms_to_mask(secrets))


def forms_to_mask(secrets: Mapping[str, bytes | bytearray]) -> Forms:
    """Return every form of every value: of a long one megabytes, made once and looked for often."""
    return sorted(
        ((form, mask_of(name)) for name, value in secrets.items() for form in forms_of(bytes(value))),
        key=lambda pair: len(pair[0]),
        reverse=True,  # a value that holds another one is named by its own name
    )


def without(data: bytes, forms: Forms) -> bytes:
    """Return `data` without any of the forms.

    Where taking one out brings another together, it is done again; what then still holds one is dropped as a whole.
    """
    for _ in range(_ROUNDS_MAX):
        found = [(form, mask) for form, mask in forms if form in data]
        if not found:
            return data
        for form, mask in found:
            data = data.replace(form, mask)
    return data if not any(form in data for form, _ in forms) else b""
