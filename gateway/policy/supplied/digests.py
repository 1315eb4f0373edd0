"""Digests and message authentication codes, in hexadecimal, over the UTF-8 of a string.

Source: OPA v1/topdown/crypto.go. MD5 and SHA-1 are here because policies compare with digests that others made.
"""

import hashlib
import hmac
from collections.abc import Callable

from gateway.policy.supplied.operands import Value, string


def digest(algorithm: str) -> Callable[[Value], str]:
    """Return `crypto.<algorithm>(x)`."""

    def builtin(value: Value) -> str:
        return hashlib.new(algorithm, string(value).encode(), usedforsecurity=False).hexdigest()

    return builtin


def mac(algorithm: str) -> Callable[[Value, Value], str]:
    """Return `crypto.hmac.<algorithm>(x, key)`."""

    def builtin(value: Value, key: Value) -> str:
        message = string(value)
        return hmac.new(string(key).encode(), message.encode(), algorithm).hexdigest()

    return builtin


def equal(left: Value, right: Value) -> bool:
    """`crypto.hmac.equal(a, b)`, in time that does not tell where they differ."""
    return hmac.compare_digest(string(left).encode(), string(right).encode())
