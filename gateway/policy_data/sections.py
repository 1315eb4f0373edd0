"""`missions`, `approvals` and `taint`, and the whole: every section of policy data that is for the policies alone."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Final

from engine.values import JsonObject, JsonValue
from gateway.effects.schemas import ARGUMENT_SCHEMAS
from gateway.policy_data.capabilities import check_capabilities
from gateway.policy_data.fields import (
    invalid,
    names_of,
    read_entries,
    read_figure,
    read_list,
    read_names,
    read_object,
    read_text,
)
from gateway.policy_data.site import site_tenants
from gateway.policy_data.windows import check_closings, check_windows
from gateway.taint import CLIENT, COMMAND, NETWORK, WORKSPACE

KEYS: Final = (
    "approvals",
    "audit",
    "capabilities",
    "closings",
    "commands",
    "decision_log",
    "files",
    "http",
    "kinds",
    "limits",
    "missions",
    "networks",
    "profiles",
    "public_methods",
    "quotas",
    "retention",
    "roles",
    "rules",
    "secrets",
    "security",
    "site",
    "taint",
    "timer",
    "windows",
)
"""The keys of data.gateway.config that gateway and default policies give a meaning. A site may have others."""

LABELS: Final = (CLIENT, COMMAND, NETWORK, WORKSPACE)
_SIZES: Final = ("steps_max", "runs_max", "parallel_limit_max")
_SCOPES: Final = ("tenant", "log")
_LIKE: Final = 0.8  # of difflib's measure: a letter too many, too few, or another one


def check_policy_data(data: JsonObject) -> None:
    """Return if every section that only the policies read is understood in full; one that is missing is.

    Raises:
        PolicyInvalidError: `policy.data_invalid`; the message names the field and the rule.
    """
    operations = ARGUMENT_SCHEMAS.keys()
    _check_keys(data)
    check_windows(data)
    check_closings(data, operations)
    check_capabilities(data, operations)
    _check_missions(data)
    _check_approvals(data)
    _check_audit(data)
    _check_taint(data, operations)
    site_tenants(data)


def _check_keys(data: JsonObject) -> None:
    """Refuse a key that is nearly one of ours: `capabilites` would restrict nobody."""
    for key in data.keys() - set(KEYS):
        if near := get_close_matches(key, KEYS, 1, _LIKE):
            raise invalid(
                key[:64], f"has no meaning here; {near[0]!r} has. A key of your own needs a name less like it"
            )


def _check_missions(data: JsonObject) -> None:
    known = ("required_labels", "reserved_label_prefixes", "forbidden_together", "limits")
    given = read_object("missions", data.get("missions", {}), known)
    for key in ("required_labels", "reserved_label_prefixes"):
        for i, text in enumerate(read_list(f"missions.{key}", given.get(key, []))):
            read_text(f"missions.{key}[{i}]", text)
    for i, entry in enumerate(read_list("missions.forbidden_together", given.get("forbidden_together", []))):
        field = f"missions.forbidden_together[{i}]"
        together = read_object(field, entry, ("kinds", "message"), ("kinds", "message"))
        read_names(f"{field}.kinds", together["kinds"], names_of(data, "kinds"), "kinds in data.gateway.config")
        read_text(f"{field}.message", together["message"])
    limits = read_object("missions.limits", given.get("limits", {}), ("default", "tenants"))
    _check_sizes("missions.limits.default", limits.get("default", {}))
    for tenant, entry in read_entries("missions.limits.tenants", limits.get("tenants", {})).items():
        _check_sizes(f"missions.limits.tenants.{tenant}", entry)


def _check_sizes(field: str, value: JsonValue) -> None:
    for name, figure in read_object(field, value, _SIZES).items():
        read_figure(f"{field}.{name}", figure)


def _check_approvals(data: JsonObject) -> None:
    known = ("approvers", "expires_seconds", "expires_seconds_max", "separation")
    given = read_object("approvals", data.get("approvals", {}), known)
    if "separation" not in given:
        return
    field, roles = "approvals.separation", names_of(data, "roles")
    separation = read_object(field, given["separation"], ("excluded_roles", "exclusive_roles", "distinct_approvers"))
    for key in ("excluded_roles", "exclusive_roles"):
        if key in separation:
            read_names(f"{field}.{key}", separation[key], roles, "roles in data.gateway.config")
    if not isinstance(separation.get("distinct_approvers", False), bool):
        raise invalid(f"{field}.distinct_approvers", "must be true or false")


def _check_audit(data: JsonObject) -> None:
    """Look at who sees what of the audit log: a scope that is misspelt would show nothing, or be taken for another."""
    given = read_object("audit", data.get("audit", {}), ("log_tenants",))
    if given.get("log_tenants", []) != []:
        read_names("audit.log_tenants", given["log_tenants"])
    for role, entry in read_entries("roles", data.get("roles", {})).items():
        if isinstance(entry, Mapping) and entry.get("audit_scope", "tenant") not in _SCOPES:
            raise invalid(f"roles.{role}.audit_scope", f"must be one of {', '.join(_SCOPES)}")


def _check_taint(data: JsonObject, operations: Collection[str]) -> None:
    given = read_object("taint", data.get("taint", {}), ("effects",))
    for op, labels in read_object("taint.effects", given.get("effects", {}), operations).items():
        read_names(f"taint.effects.{op}", labels, LABELS, ", ".join(LABELS))
    for kind, entry in read_entries("kinds", data.get("kinds", {})).items():
        closed = entry.get("closed_taint", []) if isinstance(entry, Mapping) else []
        if closed != []:
            read_names(f"kinds.{kind}.closed_taint", closed, LABELS, ", ".join(LABELS))
