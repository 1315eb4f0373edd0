"""Audit events as OCSF: a pure function from a parsed line of the log to one JSON object.

Nothing is left out: what OCSF has no place for is under `unmapped`, with `hash` and `previous_hash`, which tie the
object to its line of the signed log. docs/audit-siem.md has the mapping and the reasons for it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from typing import Any, Final

from gateway.exporting.ocsf_classes import (
    API,
    APPLICATION_ERROR,
    DETECTION,
    ENTITY,
    EVENT_LOG,
    LIFECYCLE,
    OTHER,
    VERSION,
    Status,
)
from gateway.exporting.ocsf_rows import ROWS, UNKNOWN, Row, method_activity

PRODUCT: Final = "Missiongate"
_SYSTEM: Final = frozenset({"gateway", "audit"})  # actors that are no person
_ANONYMOUS: Final = "anonymous"
_SHA256: Final = 3  # of `algorithm_id`
_USER_ENTITY, _POLICY_ENTITY = 2, 5  # of `type_id` of a managed entity
_RULE: Final = 1  # of `type_id` of an analytic
_UNKNOWN_USER, _USER, _SYSTEM_USER = 0, 1, 3  # of `type_id` of a user
_OF_MISSIONS: Final = frozenset({"mission", "step", "approval"})  # kinds whose target begins with a mission's id
_NO_MISSION: Final = frozenset({"mission", "missions"})  # targets of events about a mission that has no id
_NEW: Final = 1  # of `status_id` of a finding
_MESSAGE_CHARS_MAX: Final = 512

_Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Projector:
    """Projects events of one log. `log_name` is its origin; `raw`: every object carries its line as well."""

    log_name: str
    raw: bool = False
    product_version: str = metadata.version("missiongate")

    def project(self, event: Mapping[str, Any], line: bytes = b"") -> _Object:
        """Return a parsed line as an OCSF object; `line` are its bytes without LF, which `raw` needs.

        The event is of a log that was verified: its nine fields are there and of their types, and `details` may hold
        anything.
        """
        row = ROWS.get(event["event_type"], UNKNOWN)
        details = event["details"]
        profiles: list[str] = []
        out = {**_class_of(row, event), "time": _milliseconds(event["timestamp"]), **_outcome(row, event)}
        _add_control(out, row, details, profiles)
        if row.event_class.has_actor:
            out["actor"] = {"user": _user(event["actor"])}
            if row.event_class.actor_by_profile:
                profiles.append("host")
        _add_facts(out, row, event, self.log_name, self._product())
        out["metadata"] = self._metadata(row, event, profiles)
        out["unmapped"] = {
            "target": event["target"],
            "details": details,
            "previous_hash": event["previous_hash"],
            "hash": event["hash"],
        }
        if not row.event_class.has_actor:
            out["unmapped"]["actor"] = event["actor"]
        if self.raw:
            value = hashlib.sha256(line).hexdigest()
            out["raw_data"], out["raw_data_size"] = line.decode("utf-8"), len(line)
            out["raw_data_hash"] = {"algorithm_id": _SHA256, "algorithm": "SHA-256", "value": value}
        return out

    def _product(self) -> _Object:
        return {"name": PRODUCT, "vendor_name": PRODUCT, "version": self.product_version}

    def _metadata(self, row: Row, event: Mapping[str, Any], profiles: list[str]) -> _Object:
        out: _Object = {
            "version": VERSION,
            "product": self._product(),
            "uid": event["event_id"],
            "event_code": event["event_type"],
            "log_name": self.log_name,
            "log_provider": PRODUCT,
            "sequence": event["seq"],
            "original_time": event["timestamp"],
        }
        if profiles:
            out["profiles"] = profiles
        tenant, slash, _ = event["actor"].partition("/")
        if slash:
            out["tenant_uid"] = tenant
        mission = event["target"].partition("/")[0]
        if row.kind in _OF_MISSIONS and mission not in _NO_MISSION and event["target"] != event["details"].get("rule"):
            out["correlation_uid"] = mission
        return out


def _class_of(row: Row, event: Mapping[str, Any]) -> _Object:
    """Return the numbers of category, class and activity, and what they are called."""
    kind, activity, name = row.event_class, row.activity, row.verb
    if row.kind == "method":
        activity, name = method_activity(event["target"].rpartition("/")[2]), ""
    known = kind.activities.get(activity, "Other")
    return {
        "category_uid": kind.category_uid,
        "category_name": kind.category_name,
        "class_uid": kind.uid,
        "class_name": kind.name,
        "activity_id": activity,
        "activity_name": name or known,
        "type_uid": kind.uid * 100 + activity,
        "type_name": f"{kind.name}: {known}",
    }


def _outcome(row: Row, event: Mapping[str, Any]) -> _Object:
    """Return how it went, how much that matters, and why."""
    details = event["details"]
    status = row.status(details)
    severity = row.severity_failed if status is Status.FAILURE and row.severity_failed else row.severity
    out: _Object = {"severity_id": severity.value, "severity": severity.caption, "message": _message(event)}
    if row.event_class is DETECTION:
        out["status_id"], out["status"] = _NEW, "New"
    else:
        out["status_id"], out["status"] = status.value, status.caption
    if code := _text(details, "code"):
        out["status_code"] = code
    if reasons := _reasons(details):
        out["status_detail"] = reasons
    return out


def _add_control(out: _Object, row: Row, details: Mapping[str, Any], profiles: list[str]) -> None:
    """Add the verdict, and the bundle that gave it: the profile `security_control`."""
    action = row.action(details)
    if action is not None:
        out["action_id"], out["action"] = action.value, action.caption
        out["disposition_id"], out["disposition"] = action.disposition
    if bundle := _text(details, "bundle"):
        out["policy"] = {"uid": bundle, "name": "policy bundle", "is_applied": True}
    if "action_id" in out or "policy" in out:
        profiles.append("security_control")


def _add_facts(out: _Object, row: Row, event: Mapping[str, Any], log_name: str, product: _Object) -> None:
    """Add what only some classes have."""
    kind = row.event_class
    if kind in {API, DETECTION}:
        out["resources"] = [{"uid": event["target"], "type": row.kind, "role_id": 1}]
    if kind is API:
        out["api"] = _api(row, event)
        out["src_endpoint"] = _source(event["actor"], log_name)
    elif kind is DETECTION:
        out["finding_info"] = _finding(event, product)
        out["is_alert"] = True
    elif kind is ENTITY:
        out["entity"] = _entity(row, event)
    elif kind is EVENT_LOG:
        out["log_name"], out["log_provider"] = log_name, PRODUCT
        out["log_type_id"], out["log_type"] = 2, "Application"
    elif kind is LIFECYCLE:
        out["app"] = product
    elif kind is APPLICATION_ERROR:
        out["count"] = 1


def _user(actor: str) -> _Object:
    """Return who did it, under the name that the log has, which may be a pseudonym."""
    if actor in _SYSTEM:
        return {"uid": actor, "type_id": _SYSTEM_USER, "type": "System"}
    if actor == _ANONYMOUS:
        return {"uid": actor, "type_id": _UNKNOWN_USER, "type": "Unknown"}
    return {"uid": actor, "type_id": _USER, "type": "User"}


def _source(actor: str, log_name: str) -> _Object:
    """Return where a call came from: OCSF requires it, and the log holds no addresses of clients."""
    if actor in _SYSTEM:
        return {"uid": log_name, "svc_name": PRODUCT, "type_id": 1}
    return {"name": "not recorded", "type_id": 0}


def _api(row: Row, event: Mapping[str, Any]) -> _Object:
    target = event["target"]
    if row.kind == "method":
        service, _, method = target.rpartition("/")
        return {"operation": method or target, "service": {"name": service or target}}
    return {"operation": _text(event["details"], "op") or row.operation, "service": {"name": PRODUCT}}


def _text(details: Mapping[str, Any], key: str) -> str:
    """Return a field that is a text, and "" for any other."""
    value = details.get(key)
    return value if isinstance(value, str) else ""


def _finding(event: Mapping[str, Any], product: _Object) -> _Object:
    details, event_type = event["details"], event["event_type"]
    name = _text(details, "rule") or event["target"]
    return {
        "uid": event["event_id"],
        "title": f"{event_type}: {name}"[:_MESSAGE_CHARS_MAX],
        "types": [_text(details, "kind") or event_type],
        "created_time": _milliseconds(event["timestamp"]),
        "product": product,
        "analytic": {"uid": name, "name": name, "type_id": _RULE, "type": "Rule"},
    }


def _entity(row: Row, event: Mapping[str, Any]) -> _Object:
    target, details = event["target"], event["details"]
    if row.kind == "policy":
        policy: _Object = {"uid": target, "name": "policy bundle"}
        if revision := _text(details, "revision"):
            policy["version"] = revision
        return {"uid": target, "name": "policy bundle", "type_id": _POLICY_ENTITY, "type": "Policy", "policy": policy}
    if row.kind == "user":
        return {"uid": target, "type_id": _USER_ENTITY, "type": "User", "user": _user(target)}
    out: _Object = {"uid": target, "name": target.partition("@")[0], "type_id": OTHER, "type": row.kind}
    if version := _text(details, "version"):
        out["version"] = version
    return out


def _reasons(details: Mapping[str, Any]) -> str:
    """Return the codes of policy's reasons; their messages, which may repeat what a client wrote, are in `unmapped`."""
    reasons = details.get("reasons")
    entries = reasons if isinstance(reasons, list) else ()
    codes = [str(each["code"]) for each in entries if isinstance(each, Mapping) and "code" in each]
    return ", ".join(codes)[:_MESSAGE_CHARS_MAX]


def _message(event: Mapping[str, Any]) -> str:
    code = _text(event["details"], "code")
    text = f"{event['event_type']} {event['target']} by {event['actor']}"
    return (f"{text}: {code}" if code else text)[:_MESSAGE_CHARS_MAX]


def _milliseconds(timestamp: str) -> int:
    """Return milliseconds since 1970, rounded down; `original_time` has the microseconds."""
    moment = datetime.fromisoformat(timestamp)
    return int(moment.timestamp()) * 1_000 + moment.microsecond // 1_000
