"""Policy data: what is misspelt or does not exist is a refusal at load that names field and rule, never a silence."""

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway
from engine.loader import load_mission
from engine.mission import MissionLimits
from gateway.config import Config
from gateway.errors import PolicyInvalidError
from gateway.policy_data.sections import KEYS, LABELS, check_policy_data
from gateway.rules import bundled_policies, load_rules
from gateway.taint import taint_of

DEFAULT = json.loads((bundled_policies() / "data.json").read_text())["gateway"]["config"]
HOURS = {"weekdays": ["monday"], "from": "08:00", "to": "18:00"}
DATES = {"starts": "2026-12-20T00:00:00Z", "ends": "2027-01-04T00:00:00Z"}
CLOSING = {"name": "c", "at": ["step"], "closed_in": ["freeze"], "message": "m"}
GRANT = {"name": "g", "hosts": ["api.example.com"]}


def site(**sections: Any) -> dict[str, Any]:
    """Return the default data with hosts, a command, a secret, two windows, and these sections."""
    base = {
        "http": {"methods": ["GET"], "hosts": {"api.example.com": {}, "127.0.0.1": {}}},
        "commands": {"sort": {}},
        "secrets": {"TOKEN": {}},
        "windows": {"office": HOURS, "freeze": DATES},
    }
    return {**copy.deepcopy(DEFAULT), **base, **sections}


def closing(**entries: Any) -> dict[str, Any]:
    """Return data with one closing."""
    return site(closings=[{**CLOSING, **entries}])


def grant(*required: str, **entries: Any) -> dict[str, Any]:
    """Return data with one grant beside those of the operations that need one."""
    return site(capabilities={"required": list(required or ("http.request",)), "grants": [{**GRANT, **entries}]})


def windows(**entries: Any) -> dict[str, Any]:
    """Return data with these windows."""
    return site(windows=entries)


ACCEPTED: Mapping[str, dict[str, Any]] = {
    "the default": DEFAULT,
    "nothing": {},
    "a key of the site's own": site(cost_centres=["a"], my_rules={"x": 1}),
    "windows of each form": windows(
        a=HOURS, b={"from": "22:00", "to": "06:00"}, c={"from": "00:00", "to": "24:00"}, d=DATES
    ),
    "a closing by all that steps have": closing(
        subjects=["ann"], tenants=["red"], roles=["submitter"], labels={"team": "x"}, kinds=["http"]
    ),
    "a closing of effects": closing(at=["effect"], effects=["command.run"], commands=["sort"]),
    "a closing of calls": closing(at=["rpc"], methods=["gateway.v1.MissionService/SubmitMission"]),
    "a closing of several places": closing(at=["rpc", "mission", "step", "effect"], tenants=["red"]),
    "a grant of everything": grant(
        "http.request",
        "file.read",
        "file.write",
        "command.run",
        "timer.sleep",
        subjects=["ann"],
        tenants=["red"],
        roles=["submitter"],
        labels={"team": "x"},
        kinds=["http"],
        hosts=["*.example.com", "127.0.0.1"],
        ports=[443],
        methods=["GET"],
        secrets=["TOKEN"],
        read=["", "in/", "a b/c.d"],
        write=["out"],
        commands=["sort"],
        effects=["timer.sleep"],
    ),
    "nobody has a grant": site(capabilities={"required": ["command.run"], "grants": []}),
    "limits": site(missions={"limits": {"default": {"steps_max": 0}, "tenants": {"red": {"runs_max": 2**53}}}}),
    "separation": site(
        approvals={
            "approvers": ["approver"],
            "expires_seconds": 30,
            "expires_seconds_max": 60,
            "separation": {
                "excluded_roles": ["submitter"],
                "exclusive_roles": ["viewer"],
                "distinct_approvers": True,
            },
        }
    ),
    "taint": site(taint={"effects": {"http.request": ["workspace", "command"]}}),
    "nobody sees the whole log": site(audit={"log_tenants": []}),
    "nobody runs it": site(site={"tenants": []}),
    "two tenants run it": site(site={"tenants": ["red", "blue"]}),
    "scopes of the log": site(audit={"log_tenants": ["red"]}, roles={"a": {"audit_scope": "tenant"}, "b": {}}),
}

REFUSED: Mapping[str, tuple[dict[str, Any], str, str]] = {
    # the audit log
    "a list of tenants by another name": (site(audit={"tenants": ["red"]}), "audit", "has no field 'tenants'"),
    "one tenant for a list": (site(audit={"log_tenants": "red"}), "audit.log_tenants", "must be a list"),
    "a tenant twice": (site(audit={"log_tenants": ["a", "a"]}), "audit.log_tenants", "names something twice"),
    "a scope like ours": (site(roles={"r": {"audit_scope": "logs"}}), "roles.r.audit_scope", "must be one of"),
    # who runs the gateway
    "tenants that are none": (site(site={"tenants": "red"}), "site.tenants", "must be a list"),
    "one of them twice": (site(site={"tenants": ["a", "a"]}), "site.tenants", "names something twice"),
    "a site by another name": (site(site={"tenant": ["a"]}), "site", "has no field 'tenant'"),
    # the whole
    "a key like ours": (site(capabilites={}), "capabilites", "'capabilities' has"),
    "another": (site(closing=[]), "closing", "'closings' has"),
    # windows
    "windows that are none": (site(windows=[]), "windows", "must be an object"),
    "a misspelt key of a window": (windows(a={**HOURS, "weekday": ["monday"]}), "windows.a", "no field 'weekday'"),
    "a window that is none": (windows(a="08:00"), "windows.a", "must be an object"),
    "a window without an end": (windows(a={"from": "08:00"}), "windows.a", "'to' is missing"),
    "a freeze without a beginning": (windows(a={"ends": DATES["ends"]}), "windows.a", "'starts' is missing"),
    "hours and dates": (windows(a={**HOURS, **DATES}), "windows.a", "no field 'from'"),
    "an hour of one digit": (windows(a={"from": "8:00", "to": "18:00"}), "windows.a.from", "time of day"),
    "an hour that is none": (windows(a={"from": "08:00", "to": "25:00"}), "windows.a.to", "time of day"),
    "the end as a beginning": (windows(a={"from": "24:00", "to": "08:00"}), "windows.a.from", "time of day"),
    "digits of another script": (windows(a={"from": "0٨:00", "to": "18:00"}), "windows.a.from", "time of day"),
    "no hours at all": (windows(a={"from": "08:00", "to": "08:00"}), "windows.a.to", "whole day"),
    "a weekday in capitals": (windows(a={**HOURS, "weekdays": ["Monday"]}), "windows.a.weekdays", "'Monday'"),
    "no weekdays": (windows(a={**HOURS, "weekdays": []}), "windows.a.weekdays", "must not be empty"),
    "a date of another zone": (
        windows(a={**DATES, "starts": "2026-12-20T00:00:00+01:00"}),
        "windows.a.starts",
        "a minute in UTC",
    ),
    "a date with seconds": (windows(a={**DATES, "starts": "2026-12-20T00:00:30Z"}), "windows.a.starts", "a minute"),
    "a day that is none": (windows(a={**DATES, "starts": "2026-02-30T00:00:00Z"}), "windows.a.starts", "a minute"),
    "dates in the other order": (
        windows(a={"starts": DATES["ends"], "ends": DATES["starts"]}),
        "windows.a.ends",
        "later than starts",
    ),
    "a date with more behind it": (
        windows(a={**DATES, "ends": "2027-01-04T00:00:00Z\n"}),
        "windows.a.ends",
        "a minute in UTC",
    ),
    "an hour with more behind it": (windows(a={**HOURS, "to": "18:00 "}), "windows.a.to", "time of day"),
    "no dates at all": (windows(a={**DATES, "ends": DATES["starts"]}), "windows.a.ends", "later than starts"),
    "too many windows": (windows(**{f"w{i}": HOURS for i in range(257)}), "windows", "at most 256"),
    "a window without a name": (windows(**{"": HOURS}), "windows", "a text of 1 to 256"),
    # closings
    "too many closings": (site(closings=[{**CLOSING, "name": f"c{i}"} for i in range(257)]), "closings", "at most 256"),
    "a message that is too long": (closing(message="m" * 257), "closings[0].message", "a text of 1 to 256"),
    "a method with more behind it": (closing(at=["rpc"], methods=["a.B/C/D"]), "closings[0].methods", "no method"),
    "closings that are none": (site(closings={}), "closings", "must be a list"),
    "a misspelt selector": (closing(tenant=["red"]), "closings[0]", "no field 'tenant'"),
    "no place": (site(closings=[{k: v for k, v in CLOSING.items() if k != "at"}]), "closings[0]", "'at' is missing"),
    "a place that is none": (closing(at=["steps"]), "closings[0].at", "'steps' is not among"),
    "no places": (closing(at=[]), "closings[0].at", "must not be empty"),
    "no message": (closing(message=""), "closings[0].message", "a text"),
    "two of one name": (site(closings=[CLOSING, CLOSING]), "closings[1].name", "another closing"),
    "neither open nor closed": (
        site(closings=[{k: v for k, v in CLOSING.items() if k != "closed_in"}]),
        "closings[0]",
        "one of open_in and closed_in",
    ),
    "both": (closing(open_in=["office"]), "closings[0]", "one of open_in and closed_in"),
    "a window that nobody describes": (closing(closed_in=["freze"]), "closings[0].closed_in", "'freze'"),
    "a selector that the place has not": (closing(at=["step", "rpc"], kinds=["http"]), "closings[0].kinds", "no rpc"),
    "a command at a step": (closing(commands=["sort"]), "closings[0].commands", "no step document"),
    "a method at an effect": (closing(at=["effect"], methods=["a.B/C"]), "closings[0].methods", "no effect document"),
    "a kind that is none": (closing(kinds=["comand"]), "closings[0].kinds", "'comand' is not among kinds"),
    "a role that is none": (closing(roles=["submiter"]), "closings[0].roles", "'submiter' is not among roles"),
    "an effect that is none": (closing(at=["effect"], effects=["file.delete"]), "closings[0].effects", "'file.delete'"),
    "a command that is none": (closing(at=["effect"], commands=["tar"]), "closings[0].commands", "'tar'"),
    "a method without its service": (closing(at=["rpc"], methods=["Submit"]), "closings[0].methods", "no method"),
    "a selector that is no list": (closing(tenants="red"), "closings[0].tenants", "must be a list"),
    "one thing twice": (closing(tenants=["red", "red"]), "closings[0].tenants", "twice"),
    "a label that is no text": (closing(labels={"team": 1}), "closings[0].labels.team", "a text"),
    # capabilities
    "capabilities without required": (site(capabilities={"grants": []}), "capabilities", "'required' is missing"),
    "nothing required": (site(capabilities={"required": [], "grants": []}), "capabilities.required", "not be empty"),
    "an operation that is none": (grant("http.requests"), "capabilities.required", "'http.requests'"),
    "a misspelt field of a grant": (grant(host=["h"]), "capabilities.grants[0]", "no field 'host'"),
    "a grant without a name": (
        site(capabilities={"required": ["http.request"], "grants": [{"hosts": ["api.example.com"]}]}),
        "capabilities.grants[0]",
        "'name' is missing",
    ),
    "two grants of one name": (
        site(capabilities={"required": ["http.request"], "grants": [GRANT, GRANT]}),
        "capabilities.grants[1].name",
        "another grant",
    ),
    "a grant that gives nothing": (
        site(capabilities={"required": ["http.request"], "grants": [{"name": "g", "tenants": ["red"]}]}),
        "capabilities.grants[0]",
        "gives nothing",
    ),
    "a grant of what needs none": (grant(write=["out/"]), "capabilities.grants[0].write", "file.write is not in"),
    "another such": (grant(effects=["mission.run"]), "capabilities.grants[0].effects", "mission.run is not in"),
    "an operation without what it is about": (
        grant("http.request", "file.write", effects=["file.write"]),
        "capabilities.grants[0].effects",
        "'file.write' is not among",
    ),
    "a host in capitals": (grant(hosts=["API.example.com"]), "capabilities.grants[0].hosts", "lower case"),
    "a host with a port": (grant(hosts=["api.example.com:443"]), "capabilities.grants[0].hosts", "without port"),
    "a star in the middle": (grant(hosts=["api.*.com"]), "capabilities.grants[0].hosts", "no host"),
    "all hosts": (grant(hosts=["*"]), "capabilities.grants[0].hosts", "no host"),
    "names below an address": (grant(hosts=["*.127.0.0.1"]), "capabilities.grants[0].hosts", "an address"),
    "a host that nobody can reach": (grant(hosts=["api.example.org"]), "capabilities.grants[0].hosts", "http.hosts"),
    "a suffix that no host has": (grant(hosts=["*.api.example.com"]), "capabilities.grants[0].hosts", "http.hosts"),
    "a port that is none": (grant(ports=[0]), "capabilities.grants[0].ports", "from 1 to 65535"),
    "no ports": (grant(ports=[]), "capabilities.grants[0].ports", "must not be empty"),
    "a method in small letters": (grant(methods=["get"]), "capabilities.grants[0].methods", "in capitals"),
    "ports without hosts": (
        site(capabilities={"required": ["file.read"], "grants": [{"name": "g", "read": [""], "ports": [1]}]}),
        "capabilities.grants[0].ports",
        "without hosts",
    ),
    "a secret that is none": (grant(secrets=["TOKN"]), "capabilities.grants[0].secrets", "'TOKN'"),
    "a command of a grant that is none": (
        grant("http.request", "command.run", commands=["tar"]),
        "capabilities.grants[0].commands",
        "'tar'",
    ),
    "a kind of a grant that is none": (grant(kinds=["htp"]), "capabilities.grants[0].kinds", "'htp'"),
    "no prefixes": (grant("http.request", "file.read", read=[]), "capabilities.grants[0].read", "not be empty"),
    **{
        f"the prefix {prefix!r}": (
            grant("http.request", "file.read", read=[prefix]),
            "capabilities.grants[0].read",
            "plain and relative",
        )
        for prefix in ("/etc", "../x", "a/../b", "./a", "a//b", "a\\b", "a\x00b", "a/.")
    },
    # missions, approvals, taint
    "a misspelt key of missions": (site(missions={"required_label": ["x"]}), "missions", "no field 'required_label'"),
    "labels that are no list": (site(missions={"required_labels": "x"}), "missions.required_labels", "must be a list"),
    "a combination of unknown kinds": (
        site(missions={"forbidden_together": [{"kinds": ["htp"], "message": "m"}]}),
        "missions.forbidden_together[0].kinds",
        "'htp'",
    ),
    "a misspelt limit": (
        site(missions={"limits": {"default": {"step_max": 1}}}),
        "missions.limits.default",
        "no field 'step_max'",
    ),
    "a limit of a tenant that is no figure": (
        site(missions={"limits": {"tenants": {"red": {"runs_max": "1"}}}}),
        "missions.limits.tenants.red.runs_max",
        "a whole number",
    ),
    "limits of kinds": (site(missions={"limits": {"kinds": {}}}), "missions.limits", "no field 'kinds'"),
    "a misspelt separation": (site(approvals={"seperation": {}}), "approvals", "no field 'seperation'"),
    "a misspelt key of it": (
        site(approvals={"separation": {"excluded_role": ["x"]}}),
        "approvals.separation",
        "no field 'excluded_role'",
    ),
    "a role of it that is none": (
        site(approvals={"separation": {"exclusive_roles": ["x"]}}),
        "approvals.separation.exclusive_roles",
        "'x'",
    ),
    "a switch that is none": (
        site(approvals={"separation": {"distinct_approvers": "yes"}}),
        "approvals.separation.distinct_approvers",
        "true or false",
    ),
    "taint of an operation that is none": (site(taint={"effects": {"exec": []}}), "taint.effects", "no field 'exec'"),
    "a label that is none": (
        site(taint={"effects": {"command.run": ["netwrok"]}}),
        "taint.effects.command.run",
        "'netwrok'",
    ),
    "a label of a kind that is none": (
        site(kinds={"http": {"closed_taint": ["net"]}}),
        "kinds.http.closed_taint",
        "'net'",
    ),
}


@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_understood_in_full_is_accepted(data: dict[str, Any]) -> None:
    """The default, each form of each section, and sections of a site's own."""
    assert check_policy_data(data) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(("data", "field", "rule"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_is_refused_with_field_and_rule(data: dict[str, Any], field: str, rule: str) -> None:
    """One wrong word each, in data that is accepted without it."""
    with pytest.raises(PolicyInvalidError) as refused:
        check_policy_data(data)
    assert refused.value.code == "policy.data_invalid"
    where, _, why = refused.value.message.removeprefix("data.json: ").partition(": ")
    assert where.startswith(field)
    assert rule in why


RICH = ACCEPTED["a grant of everything"] | {
    "closings": [{**CLOSING, "at": ["effect"], "kinds": ["http"], "labels": {"a": "b"}}],
    "missions": {"limits": {"default": {"steps_max": 1}, "tenants": {"red": {"runs_max": 1}}}},
    "approvals": {"separation": {"excluded_roles": ["viewer"], "distinct_approvers": True}},
}
SECTIONS = ("windows", "closings", "capabilities", "missions", "approvals", "taint")


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every object and list below a value, and of the value itself."""
    if isinstance(value, dict):
        return [path, *(p for key, each in value.items() for p in _places(each, (*path, key)))]
    if isinstance(value, list):
        return [path, *(p for i, each in enumerate(value) for p in _places(each, (*path, i)))]
    return [path]


PLACES = [(section, *path) for section in SECTIONS for path in _places(RICH[section])]


def test_data_with_every_section_is_accepted() -> None:
    """What the next test damages."""
    assert check_policy_data(RICH) is None  # type: ignore[func-returns-value]


@given(path=st.sampled_from(PLACES), odd=st.sampled_from([None, 1.5, -1, "", "zzz", [], {}, ["zzz"], {"zzz": 1}, [[]]]))
def test_damaged_data_is_accepted_or_refused_and_nothing_else(path: tuple[Any, ...], odd: Any) -> None:
    """Whatever stands at any place: the answer is the one typed error or a yes, never another exception."""
    data = copy.deepcopy(RICH)
    holder: Any = data
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = odd
    refusals: list[PolicyInvalidError] = []
    try:
        check_policy_data(data)
    except PolicyInvalidError as refused:
        refusals.append(refused)
    assert [each.code for each in refusals] in ([], ["policy.data_invalid"])
    assert all(str(path[0]) in each.message for each in refusals)


def test_the_keys_are_those_of_the_default_bundle() -> None:
    """A key that the default data has is known, so that a misspelt one is told from a site's own."""
    assert set(DEFAULT) <= set(KEYS)
    assert set(KEYS) - set(DEFAULT) == {"capabilities", "closings", "decision_log", "windows"}


def test_what_the_host_reads_is_known() -> None:
    """Every section that a reader of the gateway takes out of the data: a misspelt one is told from a site's own."""
    sources = [path.read_text() for path in Path(gateway.__file__).parent.rglob("*.py")]
    read = {name for source in sources for name in re.findall(r"(?<!info\.)\bdata\.get\(\"([a-z_]+)\"", source)}
    assert {"commands", "limits", "secrets", "security"} < read
    assert read <= set(KEYS)


def test_the_labels_are_those_of_taint() -> None:
    """A label that no step ever has would close nothing; a step that runs a mission has all there are."""
    form = b'{"version": "1.0", "name": "n", "steps": [{"id": "a", "name": "a", "step_type": "m", "parameters": {}}]}'
    plan = load_mission(form, limits=MissionLimits(), step_types={"m"})
    assert taint_of(plan, {"m": ["mission.run"]}) == (frozenset(LABELS),)


def test_a_bundle_with_such_data_is_not_loaded(tmp_path: Path) -> None:
    """The check stands at the way of every bundle, not only here."""
    home = tmp_path / "home"
    folder = home / Config().policy.source
    for path in bundled_policies().rglob("*"):
        if path.is_file():
            copied = folder / path.relative_to(bundled_policies())
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(path.read_bytes())
    assert load_rules(home, Config()).bundle.revision
    data = json.loads((folder / "data.json").read_text())
    data["gateway"]["config"]["closings"] = [{**CLOSING, "tenant": ["red"]}]
    (folder / "data.json").write_text(json.dumps(data))
    with pytest.raises(PolicyInvalidError, match=r"closings\[0\]: has no field 'tenant'") as refused:
        load_rules(home, Config())
    assert refused.value.code == "policy.data_invalid"


def test_the_page_has_every_key() -> None:
    """docs/policy-library.md says of each key what it does, and has none that means nothing."""
    page = (Path(__file__).parents[4] / "docs" / "policy-library.md").read_text()
    table = page.partition("## Keys\n\n")[2].partition("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines()]
    assert {key.partition(".")[0] for cell in cells for key in re.findall(r"`([^`]+)`", cell)} == set(KEYS)
