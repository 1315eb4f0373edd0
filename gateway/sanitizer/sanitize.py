"""The types of argument by name: a value is handed on byte for byte, or refused; nothing is ever repaired."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from engine.errors import Violation
from gateway.addresses import PUBLIC_ONLY, AddressPolicy
from gateway.errors import SanitizationError
from gateway.sanitizer.argv import check_argv
from gateway.sanitizer.finding import Finding
from gateway.sanitizer.header import check_header, check_header_name
from gateway.sanitizer.host import check_host
from gateway.sanitizer.identifier import check_identifier
from gateway.sanitizer.json_value import check_json
from gateway.sanitizer.path import check_path
from gateway.sanitizer.secret import check_secret
from gateway.sanitizer.text import check_text
from gateway.sanitizer.url import check_url

Check: TypeAlias = Callable[[str, AddressPolicy], Finding | None]


def _anywhere(check: Callable[[str], Finding | None]) -> Check:
    """Give a check that knows no addresses the signature of one that does."""
    return lambda value, _addresses: check(value)


CHECKS: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "argv": _anywhere(check_argv),
        "header": _anywhere(check_header),
        "header_name": _anywhere(check_header_name),
        "host": check_host,
        "identifier": _anywhere(check_identifier),
        "json": _anywhere(check_json),
        "path": _anywhere(check_path),
        "secret": _anywhere(check_secret),
        "text": _anywhere(check_text),
        "url": check_url,
    }
)

# Rules that say "too much" rather than "wrong".
_LIMIT_RULES: Final = frozenset({"too_long", "too_deep", "segment_too_long", "host_too_long"})


def violation(type_name: str, finding: Finding, field: str) -> Violation:
    """Return `finding` as a violation of `field`, with the code `sanitize.<type>.<rule>`."""
    return Violation(
        code=f"sanitize.{type_name}.{finding.rule}",
        message=finding.message,
        field=field,
        kind="limit" if finding.rule in _LIMIT_RULES else "malformed",
    )


def check_value(type_name: str, value: str, *, addresses: AddressPolicy = PUBLIC_ONLY) -> None:
    """Return if `value` is a good `type_name`; it is then used as it is.

    Raises:
        SanitizationError: it is not (`sanitize.<type>.<rule>`), or there is no such type (`sanitize.unknown_type`).
    """
    check = CHECKS.get(type_name)
    if check is None:
        message = f"is declared as a type that does not exist; there are {', '.join(CHECKS)}"
        raise SanitizationError([Violation(code="sanitize.unknown_type", message=message, field="")])
    finding = check(value, addresses)
    if finding is not None:
        raise SanitizationError([violation(type_name, finding, "")])
