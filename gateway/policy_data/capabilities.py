"""`capabilities`: which operations need a grant, and who holds which."""

import re
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final

from engine.values import JsonObject, JsonValue
from gateway.policy_data.fields import (
    invalid,
    names_of,
    read_figure,
    read_list,
    read_matching,
    read_names,
    read_object,
    read_text,
)
from gateway.policy_data.selectors import check_selectors

_SUBJECT: Final[Mapping[str, str]] = MappingProxyType(
    {"read": "file.read", "write": "file.write", "hosts": "http.request", "commands": "command.run"}
)  # the field of a grant that names what an operation is about
_CHOOSE: Final = frozenset({"subjects", "tenants", "roles", "labels", "kinds"})
_KNOWN: Final = frozenset({"name", "ports", "methods", "secrets", "effects", *_SUBJECT, *_CHOOSE})
_HTTP_ONLY: Final = ("ports", "methods", "secrets")
_PORT_MAX: Final = 65_535
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_METHOD: Final = re.compile(r"[A-Z]{1,16}")
_PREFIX: Final = re.compile(r"(?!/)(?!.*(?:^|/)\.{1,2}(?:/|$))(?!.*//)[^\x00-\x1f\x7f\\]*")


def check_capabilities(data: JsonObject, operations: Collection[str]) -> None:
    """Return if every grant is understood, gives what exists, and restricts something.

    Raises:
        PolicyInvalidError: `policy.data_invalid`.
    """
    if "capabilities" not in data:
        return
    where = "capabilities"
    given = read_object(where, data[where], ("required", "grants"), ("required", "grants"))
    required = read_names(f"{where}.required", given["required"], operations, ", ".join(sorted(operations)))
    seen: set[str] = set()
    for i, entry in enumerate(read_list(f"{where}.grants", given["grants"])):
        field = f"{where}.grants[{i}]"
        grant = read_object(field, entry, _KNOWN, ("name",))
        if (name := read_text(f"{field}.name", grant["name"])) in seen:
            raise invalid(f"{field}.name", "is the name of another grant")
        seen.add(name)
        check_selectors(field, {key: grant[key] for key in grant.keys() & (_CHOOSE | {"commands"})}, data, operations)
        _check_gives(field, grant, required, operations)
        _check_http(field, grant, data)
        for key in ("read", "write"):
            if key in grant:
                _check_prefixes(f"{field}.{key}", grant[key])


def _check_gives(field: str, grant: JsonObject, required: Collection[str], operations: Collection[str]) -> None:
    """Refuse a grant that gives nothing, and one of what needs none: it would read as if others had it not."""
    gives = {op: key for key, op in _SUBJECT.items() if key in grant}
    if "effects" in grant:
        plain = sorted(set(operations) - set(_SUBJECT.values()))
        of = f"{', '.join(plain)}; of the others a grant says which by {', '.join(_SUBJECT)}"
        gives |= dict.fromkeys(read_names(f"{field}.effects", grant["effects"], plain, of), "effects")
    if not gives:
        raise invalid(field, f"gives nothing; it has at least one of {', '.join((*_SUBJECT, 'effects'))}")
    for op, key in gives.items():
        if op not in required:
            raise invalid(f"{field}.{key}", f"{op} is not in capabilities.required, so everybody has it already")


def _check_http(field: str, grant: JsonObject, data: JsonObject) -> None:
    for key in _HTTP_ONLY:
        if key in grant and "hosts" not in grant:
            raise invalid(f"{field}.{key}", "has no meaning without hosts")
    if "hosts" in grant:
        _check_hosts(f"{field}.hosts", grant["hosts"], names_of(data, "http", "hosts"))
    if "ports" in grant:
        _check_ports(f"{field}.ports", grant["ports"])
    if "methods" in grant:
        read_matching(f"{field}.methods", grant["methods"], _METHOD, "is no method of HTTP in capitals")
    if "secrets" in grant:
        read_names(f"{field}.secrets", grant["secrets"], names_of(data, "secrets"), "secrets in data.gateway.config")


def _check_ports(field: str, value: JsonValue) -> None:
    if not (ports := read_list(field, value)):
        raise invalid(field, "must not be empty; leave it out where any will do")
    for port in ports:
        read_figure(field, port, _PORT_MAX, 1)


def _check_hosts(field: str, value: JsonValue, opened: Collection[str]) -> None:
    """Refuse what is no host as a connection names it, and one that http.hosts does not open: nobody could reach it."""
    for host in read_names(field, value):
        name = host.removeprefix("*.")
        if _is_address(name):
            if name != host:
                raise invalid(field, f"{host!r}: an address has no names below it")
        elif _HOST.fullmatch(host) is None:
            raise invalid(field, f'{host!r} is no host in lower case, with "*." before it or not, without port')
        reached = [each for each in opened if each == host or (name != host and each.endswith(f".{name}"))]
        if not reached:
            raise invalid(field, f"{host!r} names none of http.hosts in data.gateway.config")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _check_prefixes(field: str, value: JsonValue) -> None:
    prefixes = read_list(field, value)
    if not prefixes:
        raise invalid(field, 'must not be empty; "" is the whole workspace')
    for prefix in prefixes:
        if prefix != "" and _PREFIX.fullmatch(read_text(field, prefix)) is None:
            raise invalid(field, f"{prefix!r} is no path in the workspace, plain and relative")
