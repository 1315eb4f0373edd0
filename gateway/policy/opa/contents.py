"""Is what an OPA has loaded the bundle that the gateway holds? Policies by their text, data by its values.

Rules may stand where data stands (`data.gateway` has both), and OPA shows them as one: so data is compared from the
first key on at which no package can be. Keys of the bundle's roots that the bundle lacks cannot be in OPA: OPA erases
a root before it loads a bundle, and lets nobody else write there.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import orjson

from engine.values import JsonValue
from gateway.policy.bundle import Bundle
from gateway.policy.opa.reply import Reply, read_reply
from gateway.policy.opa.server import OpaServer

PARTS_MAX: Final = 1_024  # requests for data, of one comparison
_DEADLINE_MS: Final = 10_000.0  # of one request
_BYTES_MAX: Final = 128 * 1024 * 1024  # OPA sends each policy with its syntax tree, ten times its size
_NOTHING: Final = "missiongate/no_such_rule"  # undefined: only the bundle's revision is asked
_OK: Final = 200
_TEST: Final = "_test"
_TEST_FILE: Final = "_test.rego"
_UNADDRESSABLE: Final = frozenset({"", ".", ".."})

Package: TypeAlias = tuple[str, ...]


class DifferenceError(Exception):
    """What OPA has is not the bundle; the text says where."""


class OtherRevisionError(DifferenceError):
    """What OPA has calls itself otherwise: its contents were not looked at."""


async def compare(bundle: Bundle, server: OpaServer) -> None:
    """Return if the OPA has this bundle, and no other.

    The revision comes with each part of the data, and is asked for at the end again, so that two bundles are not mixed.

    Raises:
        DifferenceError: it has something else; OtherRevisionError where its revision says so.
        OpaError: it cannot be asked.
        ReplyError: it refuses to answer.
    """
    await _get(bundle, server, _NOTHING)
    answer = await server.ask("GET", "/v1/policies", bytes_max=_BYTES_MAX, deadline_ms=_DEADLINE_MS)
    if answer.status != _OK:
        read_reply(answer.status, answer.body)  # raises what it says
    modules = {module.path: module.text for module in bundle.modules}
    tests = {name: data.decode("utf-8", "replace") for name, data in bundle.files.items() if name.endswith(_TEST_FILE)}
    packages = compare_policies(answer.body, modules, tests)
    for path, value in data_parts(bundle.document, packages):
        reply = await _get(bundle, server, path)
        if not reply.defined or not same(reply.value, value):
            raise DifferenceError(f"the data at {path} is another one")
    await _get(bundle, server, _NOTHING)


async def _get(bundle: Bundle, server: OpaServer, path: str) -> Reply:
    address = f"/v1/data/{path}?provenance=true"
    answer = await server.ask("GET", address, bytes_max=_BYTES_MAX, deadline_ms=_DEADLINE_MS)
    reply = read_reply(answer.status, answer.body)
    if not reply.is_of(bundle.revision):
        raise OtherRevisionError(f"expected is the revision {bundle.revision!r}, it has {reply.has}")
    return reply


def compare_policies(body: bytes, modules: Mapping[str, str], tests: Mapping[str, str]) -> frozenset[Package]:
    """Hold the answer of `GET /v1/policies` against the bundle; return the packages that OPA has.

    Args:
        body: as it came.
        modules: text by path, of what decides.
        tests: text by path, of `*_test.rego`, which OPA loads too where it takes the bundle from its source.

    Raises:
        DifferenceError: a policy is missing, another one or one too many; or the answer is none.
    """
    missing, packages = set(modules), set()
    for name, text, package in _policies(body):
        if package[:1] == ("system",):
            continue  # OPA's own, such as who may ask it: no bundle with the root `gateway` has any
        packages.add(package)
        path = next((path for path in missing if _is(name, path)), None)
        if path is not None:
            if modules[path] != text:
                raise DifferenceError(f"the policy {path} is another one")
            missing.discard(path)
        elif not any(_is(name, path) and tests[path] == text for path in tests):
            raise DifferenceError(f"OPA has the policy {name}, and the bundle has not")
        elif not package[-1].endswith(_TEST):
            message = f"the test {name} is in the package {'.'.join(package)}, in which rules may decide"
            raise DifferenceError(f"{message}: name it …_test, or build the bundle without tests")
    if missing:
        raise DifferenceError(f"OPA lacks the policy {min(missing)}")
    return frozenset(packages)


def data_parts(document: JsonValue, packages: frozenset[Package]) -> Iterator[tuple[str, JsonValue]]:
    """Yield the URL path, below `/v1/data/`, and the value of each part of the data that no rule can be in.

    Raises:
        DifferenceError: a part has no address, or there are more than PARTS_MAX.
    """
    shared = {package[:length] for package in packages for length in range(len(package) + 1)} | {()}
    for count, (path, value) in enumerate(_parts((), document, shared)):
        if count >= PARTS_MAX:
            raise DifferenceError(f"the data has more than {PARTS_MAX} keys beside packages: it cannot be compared")
        if _UNADDRESSABLE.intersection(path):
            raise DifferenceError(f"the data has a key {path[-1]!r} beside packages: it cannot be compared")
        yield "/".join(quote(key, safe="") for key in path), value


def same(one: JsonValue, other: JsonValue) -> bool:
    """Whether two JSON values are the same; 1, 1.0 and true are three."""
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)


def _parts(path: Package, value: JsonValue, shared: set[Package]) -> Iterator[tuple[Package, JsonValue]]:
    if path in shared and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _parts((*path, key), item, shared)
    else:
        yield path, value


def _policies(body: bytes) -> Iterator[tuple[str, str, Package]]:
    """Yield name, text and package of each policy.

    Source: https://www.openpolicyagent.org/docs/rest-api, List Policies.
    """
    try:
        for policy in orjson.loads(body)["result"]:
            _, first, *rest = policy["ast"]["package"]["path"]  # `data`, and one name or more
            package = tuple(_name(term["value"]) for term in (first, *rest))
            yield _name(policy["id"]), _name(policy["raw"]), package
    except (KeyError, TypeError, ValueError) as error:
        raise DifferenceError("OPA's list of policies is none") from error


def _name(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    return value


def _is(name: str, path: str) -> bool:
    """Whether OPA's name of a policy, which begins with its bundle's, is of the file at `path`."""
    return name == path or name.endswith("/" + path)
