"""Builtins that this gateway supplies to regorus, because regorus lacks them or answers otherwise than OPA.

Each has OPA's semantics or raises: regorus then ends the evaluation, and the decision is a deny, `policy.failed`. Where
OPA would leave the call undefined, the supplied one raises too. They read nothing but their operands: no clock, no
file, no network; and they are bounded in what they make. tests/integration/test_supplied_opa.py compares each with OPA.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

import regorus

from gateway.policy.supplied import (
    cidr,
    digests,
    encoding,
    formatting,
    globs,
    jsontext,
    jwt,
    numbers,
    objects,
    paths,
    semver,
    text,
    times,
    units,
)
from gateway.policy.supplied.jsontext import Spelling as Spelling

_PLAIN: Final[dict[str, Callable[..., Any]]] = {
    "lower": text.lower,
    "upper": text.upper,
    "strings.reverse": text.reverse,
    "strings.count": text.count,
    "strings.replace_n": text.replace_n,
    "indexof": text.indexof,
    "indexof_n": text.indexof_n,
    "replace": text.replace,
    "substring": text.substring,
    "strings.split_n": text.split_n,
    "format_int": numbers.show,
    "array.slice": objects.slice_of,
    "array.flatten": objects.flatten,
    "object.subset": objects.subset,
    "base64.encode": encoding.base64_encode,
    "base64.decode": encoding.base64_decode,
    "base64.is_valid": encoding.base64_is_valid,
    "base64url.encode": encoding.base64url_encode,
    "base64url.encode_no_pad": encoding.base64url_encode_no_pad,
    "base64url.decode": encoding.base64url_decode,
    "hex.encode": encoding.hex_encode,
    "hex.decode": encoding.hex_decode,
    "urlquery.encode": encoding.query_encode,
    "urlquery.decode": encoding.query_decode,
    "urlquery.encode_object": encoding.query_encode_object,
    "urlquery.decode_object": encoding.query_decode_object,
    "json.unmarshal": jsontext.unmarshal,
    "json.is_valid": jsontext.is_valid,
    "glob.match": globs.match,
    "net.cidr_contains": cidr.contains,
    "net.cidr_contains_matches": cidr.contains_matches,
    "net.cidr_intersects": cidr.intersects,
    "net.cidr_is_valid": cidr.is_valid,
    "net.cidr_expand": cidr.expand,
    "net.cidr_merge": cidr.merge,
    "semver.is_valid": semver.is_valid,
    "semver.compare": semver.compare,
    "sum": numbers.total,
    "product": numbers.product,
    "plus": numbers.plus,
    "minus": numbers.minus,
    "mul": numbers.times,
    "div": numbers.divide,
    "rem": numbers.remainder,
    "abs": numbers.absolute,
    "ceil": numbers.ceiling,
    "floor": numbers.floor,
    "round": numbers.nearest,
    "bits.and": numbers.bits_and,
    "bits.or": numbers.bits_or,
    "bits.xor": numbers.bits_xor,
    "bits.negate": numbers.bits_negate,
    "bits.lsh": numbers.bits_left,
    "bits.rsh": numbers.bits_right,
    "numbers.range": numbers.span,
    "numbers.range_step": numbers.span_step,
    "to_number": numbers.to_number,
    "units.parse": units.parse,
    "units.parse_bytes": units.parse_bytes,
    "time.parse_rfc3339_ns": times.parse_rfc3339,
    "time.parse_duration_ns": times.parse_duration,
    "time.add_date": times.add_date,
    "time.date": times.date_of,
    "time.clock": times.clock_of,
    "time.weekday": times.weekday,
    "time.diff": times.difference,
    "time.format": times.show,
    "object.union_n": objects.union_n,
    "json.filter": paths.keep,
    "json.remove": paths.remove,
    "graph.reachable": objects.reachable,
    "crypto.hmac.equal": digests.equal,
    "io.jwt.decode": jwt.decode,
    "io.jwt.decode_verify": jwt.decode_verify,
    "io.jwt.verify_eddsa": jwt.verify("EdDSA"),
}
_SPELLED: Final[dict[str, Callable[[Spelling], Callable[..., Any]]]] = {
    "json.marshal": jsontext.marshal,
    "sprintf": formatting.sprintf,
}
_PLAIN.update({f"crypto.{name}": digests.digest(name) for name in ("md5", "sha1", "sha256")})
_PLAIN.update({f"crypto.hmac.{name}": digests.mac(name) for name in ("md5", "sha1", "sha256", "sha512")})
for _bits in ("256", "384", "512"):
    _PLAIN[f"io.jwt.verify_hs{_bits}"] = jwt.verify_secret(f"HS{_bits}")
    _PLAIN.update({f"io.jwt.verify_{name}{_bits}": jwt.verify(f"{name.upper()}{_bits}") for name in ("rs", "ps", "es")})

SUPPLIED: Final = frozenset(_PLAIN) | frozenset(_SPELLED)
"""Names of all supplied builtins."""


def named(texts: Iterable[str]) -> frozenset[str]:
    """Return the supplied builtins that policy texts name; one more than they call does no harm."""
    whole = "\n".join(texts)
    return frozenset(name for name in SUPPLIED if name in whole)


def arity(name: str) -> int:
    """Return how many operands a supplied builtin has."""
    builtin = _PLAIN.get(name) or _SPELLED[name](Spelling({}))
    return builtin.__code__.co_argcount


def install(engine: regorus.Engine, names: Collection[str], spelling: Spelling) -> None:
    """Give `engine` the supplied builtins of `names`; clones of it have them as well."""
    for name in names:
        builtin = _PLAIN.get(name) or _SPELLED[name](spelling)
        engine.add_extension(name, arity(name), builtin)
