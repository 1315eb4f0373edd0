"""What a secret is called, what its value may be, and what stands for it in a guest."""

import re
from typing import Final

from gateway.errors import SecretRefusedError

VALUE_BYTES_MIN: Final = 8  # shorter ones occur by chance, and masking them would tear answers apart
VALUE_BYTES_MAX: Final = 16 * 1024
DEFAULT_TENANT: Final = "default"

HANDLE_PREFIX: Final = "mgsecret_"
# Found whatever its case: a recipient may fold it, and what is refused too often costs nothing.
HANDLE: Final = re.compile(r"mgsecret_[0-9a-f]{64}", re.IGNORECASE | re.ASCII)

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")  # that of gateway.sanitizer.secret
_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:-]{0,127}")  # that of gateway.config
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def is_name(name: str) -> bool:
    """Return whether a secret can have this name."""
    return _NAME.fullmatch(name) is not None


def check_place(tenant: str, name: str) -> None:
    """Return where a secret may be kept under this name, for this tenant.

    Raises:
        SecretRefusedError: `secret.bad_name`, `secret.bad_tenant`.
    """
    if not is_name(name):
        raise SecretRefusedError("a name has 1 to 64 of A-Z a-z 0-9 _, no digit first", code="secret.bad_name")
    if _TENANT.fullmatch(tenant) is None:
        raise SecretRefusedError("a tenant has 1 to 128 of A-Z a-z 0-9 . _ @ : -", code="secret.bad_tenant")


def check_value(name: str, value: bytes | bytearray) -> None:
    """Return where `value` can be a secret; a message never repeats any of it.

    Raises:
        SecretRefusedError: `secret.bad_value`.
    """
    if not VALUE_BYTES_MIN <= len(value) <= VALUE_BYTES_MAX:
        raise _bad(f"a value has {VALUE_BYTES_MIN} to {VALUE_BYTES_MAX} bytes")
    if len(set(value)) == 1:
        raise _bad("a value of one repeated byte cannot be told from padding")
    if _CONTROL.search(value):
        raise _bad("a value holds no control characters but the tab: a header could not carry them")
    if value in mask_of(name):
        raise _bad("this value is a part of what is written in its place")


def mask_of(name: str) -> bytes:
    """Return what is written where the value of a secret stood."""
    return b"[secret:" + name.encode("ascii") + b"]"


def _bad(message: str) -> SecretRefusedError:
    return SecretRefusedError(message, code="secret.bad_value")
