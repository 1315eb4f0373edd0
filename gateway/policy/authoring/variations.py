"""Other inputs that are like the one that was denied: what a person would try next.

Other roles, a label of taint less, another profile or security level, fewer steps, a path, host or method that the data
knows. They are read off the documents of the gateway and off `data.gateway.config`; whether one is allowed, others ask.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from gateway.policy.authoring.edits import Change, Place, at

VALUES_MAX: Final = 24  # of one field
STEPS_MAX: Final = 200  # of a mission whose steps are left out one by one
SHORTER_MAX: Final = 32
PASSES_MAX: Final = 8
LEVELS: Final = ("strict", "balanced", "relaxed", "none")
_WILD: Final = "*"


def variations(document: Any, data: Any) -> Iterator[tuple[Change, ...]]:
    """Yield changes of the input, each a thing that may be tried: one change, or several that belong together."""
    config = _mapping(at(data, ("gateway", "config"))[1])
    yield from _principal(document, config)
    for place in (("mission", "security_level"),):
        yield from _others(
            document, place, dict.fromkeys([*_mapping(_mapping(config.get("security")).get("levels")), *LEVELS])
        )
    yield from _others(document, ("step", "profile"), _mapping(config.get("profiles")))
    for label in _list(document, ("taint",)):
        yield (Change(("input", "taint"), "remove", label),)
    yield from _resource(document)
    yield from _paths(document)
    yield from _requests(document, config)
    yield from _mission(document, config)


def entry_for(place: Place, document: Any) -> Any:
    """Return the entry that the data would need at a place for what the input asks for; None where none is known."""
    section, name = place[3:-1], str(place[-1])
    if place[:3] != ("data", "gateway", "config"):
        return None
    args, kind = at(document, ("effect", "args"))[1], at(document, ("step", "step_type"))[1]
    if section == ("http", "hosts") and isinstance(args, Mapping):
        return {"ports": [args.get("port")], "methods": [args.get("method")]}
    if section == ("commands",):
        return {"executable": f"/usr/bin/{name}"}
    if section == ("secrets",):
        tenant, op = at(document, ("principal", "tenant"))[1], at(document, ("effect", "op"))[1]
        kinds = [kind] if kind is not None else _kinds_with(document, name)
        hosts = [args["host"]] if isinstance(args, Mapping) and "host" in args else []
        return {"effects": [op or "http.request"], "hosts": hosts, "kinds": kinds, "tenants": [tenant]}
    if section == ("kinds",):
        return {"profile": at(document, ("step", "profile"))[1] or "semantic", "effects": [], "closed_taint": []}
    return None


def _kinds_with(document: Any, secret: str) -> list[Any]:
    steps = _steps(document)
    return sorted({str(step.get("step_type")) for step in steps if secret in _members(step, "secrets")})


def shorter(document: Any) -> list[Any]:
    """Return the mission with fewer of its steps, the longest first.

    Without those of one kind, without one step, its first half, quarter and so on; what is left depends on nothing that
    is gone, and `runs` is made to fit.
    """
    steps = _steps(document)
    if len(steps) < 2:  # noqa: PLR2004 - one has to be left
        return []
    kinds = dict.fromkeys(str(step.get("step_type")) for step in steps)
    gone = [{step["id"] for step in steps if str(step.get("step_type")) == kind} for kind in kinds]
    if len(steps) <= STEPS_MAX:
        gone += ({step["id"]} for step in steps)
    count = len(steps) // 2
    while count:
        gone.append({step["id"] for step in steps[count:]})
        count //= 2
    left = {tuple(step["id"] for step in kept): kept for each in gone if (kept := _without(steps, each))}
    longest = sorted(left.values(), key=len, reverse=True)[:SHORTER_MAX]
    return [{**document, "mission": {**document["mission"], "steps": kept, "runs": _runs(kept)}} for kept in longest]


def _principal(document: Any, config: Mapping[str, Any]) -> Iterator[tuple[Change, ...]]:
    place = ("principal", "roles")
    known, roles = at(document, place)
    if known and isinstance(roles, list):
        for role in list(_mapping(config.get("roles")))[:VALUES_MAX]:
            if role not in roles and role != "anonymous":
                yield (Change(("input", *place), "add", role),)


def _resource(document: Any) -> Iterator[tuple[Change, ...]]:
    for field, own in (("submitter", "subject"), ("tenant", "tenant")):
        known, value = at(document, ("resource", field))
        mine = at(document, ("principal", own))[1]
        if known and value != mine:
            yield (Change(("input", "resource", field), "set", mine),)


def _paths(document: Any) -> Iterator[tuple[Change, ...]]:
    """A path with the same name elsewhere: at the top of the workspace, and in a folder for results."""
    for place in (("parameters", "path"), ("effect", "args", "path")):
        known, path = at(document, place)
        if known and isinstance(path, str):
            name = path.rstrip("/").rpartition("/")[2]
            for other in (name, f"out/{name}"):
                if other and other != path:
                    yield (Change(("input", *place), "set", other),)


def _requests(document: Any, config: Mapping[str, Any]) -> Iterator[tuple[Change, ...]]:
    """A host that the data opens, with a port and a method that it opens there; and methods alone."""
    args: Place = ("effect", "args")
    if at(document, (*args, "host"))[0]:
        for host, entry in list(_mapping(_mapping(config.get("http")).get("hosts")).items())[:VALUES_MAX]:
            ports, methods = _members(entry, "ports"), _members(entry, "methods")
            port, method = at(document, (*args, "port"))[1], at(document, (*args, "method"))[1]
            wanted = {
                "host": host,
                "port": port if port in ports or not ports else ports[0],
                "method": method if method in methods or not methods else methods[0],
            }
            changes = [
                Change(("input", *args, name), "set", value)
                for name, value in wanted.items()
                if at(document, (*args, name))[1] != value
            ]
            if changes:
                yield tuple(changes)
    methods = _members(_mapping(config.get("http")), "methods")
    yield from _others(document, ("parameters", "method"), methods)


def _mission(document: Any, config: Mapping[str, Any]) -> Iterator[tuple[Change, ...]]:
    """Labels that the data asks for or reserves, a smaller parallel limit, the kinds' own profiles."""
    missions = _mapping(config.get("missions"))
    labels = _mapping(at(document, ("mission", "labels"))[1])
    for label in _members(missions, "required_labels"):
        if label not in labels:
            yield (Change(("input", "mission", "labels", label), "set", "x"),)
    for label in labels:
        if any(str(label).startswith(str(prefix)) for prefix in _members(missions, "reserved_label_prefixes")):
            yield (Change(("input", "mission", "labels", label), "remove"),)
    limit = at(document, ("mission", "config", "parallel_limit"))[1]
    if isinstance(limit, int) and limit > 1:
        for other in sorted({_limit_of(role) for role in _mapping(config.get("roles")).values()} - {0}, reverse=True):
            if other < limit:
                yield (Change(("input", "mission", "config", "parallel_limit"), "set", other),)
    steps = _steps(document)
    asked = [index for index, step in enumerate(steps) if step.get("profile") is not None]
    if asked:
        yield tuple(Change(("input", "mission", "steps", index, "profile"), "set", None) for index in asked)
    for label in sorted({label for step in steps for label in _members(step, "taint") if isinstance(label, str)}):
        places = [index for index, step in enumerate(steps) if label in _members(step, "taint")]
        if len(places) <= VALUES_MAX:
            yield tuple(Change(("input", "mission", "steps", index, "taint"), "remove", label) for index in places)


def _without(steps: list[Mapping[str, Any]], gone: set[str]) -> list[Mapping[str, Any]]:
    """Return the steps that neither are gone nor depend on one that is; none where nothing has to go."""
    gone = set(gone)
    for _ in range(PASSES_MAX):  # a step may stand before what it depends on
        left = []
        before = len(gone)
        for step in steps:
            if step["id"] in gone or not gone.isdisjoint(_members(step, "depends_on")):
                gone.add(step["id"])
            else:
                left.append(step)
        if len(gone) == before:
            return left if len(left) < len(steps) else []
    return []


def _runs(steps: list[Mapping[str, Any]]) -> int:
    return sum(max(items, 1) if isinstance(items := step.get("items"), int) else 1 for step in steps)


def _others(document: Any, place: Place, values: Iterable[Any]) -> Iterator[tuple[Change, ...]]:
    known, value = at(document, place)
    if known:
        for other in list(values)[:VALUES_MAX]:
            if other not in (value, _WILD):
                yield (Change(("input", *place), "set", other),)


def _steps(document: Any) -> list[Mapping[str, Any]]:
    """Return the steps of a mission, if they are as the gateway makes them."""
    steps = _list(document, ("mission", "steps"))
    fine = all(
        isinstance(step, Mapping)
        and isinstance(step.get("id"), str)
        and all(isinstance(parent, str) for parent in _members(step, "depends_on"))
        for step in steps
    )
    return steps if fine else []


def _limit_of(role: Any) -> int:
    limit = _mapping(role).get("parallel_limit_max", 0)
    return limit if isinstance(limit, int) else 0


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _members(value: Any, name: str) -> list[Any]:
    found = _mapping(value).get(name, [])
    return found if isinstance(found, list) else []


def _list(document: Any, place: Place) -> list[Any]:
    found = at(document, place)[1]
    return found if isinstance(found, list) else []
