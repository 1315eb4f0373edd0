"""How events of the log look to people: one line each, with what matters of its type."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from rich.text import Text

from gateway.cli.output import OUT, counted, said

_TYPE_WIDTH: Final = 23
_SEQ_WIDTH: Final = 7
_DIGEST_CHARS: Final = 19  # sha256: and twelve digits, as elsewhere
_MESSAGE_CHARS_MAX: Final = 120

_Details = Mapping[str, Any]

_STYLES: Final[Mapping[str, str]] = {  # by the last word of a type
    "allowed": "green",
    "admitted": "green",
    "cleared": "green",
    "performed": "green",
    "refused": "red",
    "denied": "red",
    "failed": "red",
    "failed_open": "red",
    "publish_refused": "red",
    "bundle_refused": "red",
    "interrupted": "red",
    "violated": "red",
    "held": "yellow",
    "requested": "yellow",
    "paused": "yellow",
    "suspended": "yellow",
    "retried": "yellow",
    "cancel_requested": "yellow",
    "bundle_stale": "yellow",
    "recovered": "yellow",
    "stopped": "yellow",
    "read": "dim",
    "heartbeat": "dim",
    "intended": "dim",
    "replayed": "dim",
}
_STATUS_STYLES: Final[Mapping[str, str]] = {"Success": "green", "Completed": "green", "Failed": "red"}


class EventLines:
    """Prints events; the date stands on a line of its own where it changes."""

    def __init__(self) -> None:
        self._day = ""

    def show(self, line: bytes) -> None:
        """Print one event."""
        event = orjson.loads(line)
        day, _, moment = str(event["timestamp"]).partition("T")
        if day != self._day:
            self._day = day
            OUT.print(said(day, "bold"))
        OUT.print(event_text(event, moment[:12]))


def event_text(event: Mapping[str, Any], moment: str) -> Text:
    """Return `seq time type target  what matters  by whom`."""
    event_type, details = str(event["event_type"]), event["details"]
    text = Text.assemble((f"{event['seq']:>{_SEQ_WIDTH}}", "dim"), "  ", (moment, "dim"), "  ")
    text.append_text(said(f"{event_type:<{_TYPE_WIDTH}}", _style_of(event_type, details)))
    text.append("  ").append_text(said(event["target"]))
    if told := note_of(event_type, details):
        text.append_text(said(f"  {told}", "bold" if _is_no(event_type) else ""))
    return text.append_text(said(f"  by {event['actor']}", "dim"))


def note_of(event_type: str, details: _Details) -> str:
    """Return the one or two details that matter of an event."""
    made = _NOTES.get(event_type) or _FAMILY_NOTES.get(event_type.partition(".")[0])
    own = made(details) if made is not None else ""
    return "  ".join(part for part in (own, _why(details)) if part)


def _style_of(event_type: str, details: _Details) -> str:
    if event_type in {"step.ended", "mission.ended"}:
        return _STATUS_STYLES.get(str(details.get("status")), "yellow")
    if event_type == "approval.decided":
        return {"approved": "green", "denied": "red"}.get(str(details.get("state")), "yellow")
    return _STYLES.get(event_type.rpartition(".")[2], "cyan")


def _is_no(event_type: str) -> bool:
    return _STYLES.get(event_type.rpartition(".")[2]) == "red"


def _why(details: _Details) -> str:
    """Return the code, and what the first reason says."""
    code, reasons = details.get("code"), details.get("reasons")
    message = ""
    if isinstance(reasons, list) and reasons and isinstance(reasons[0], dict):
        message = str(reasons[0].get("message", ""))[:_MESSAGE_CHARS_MAX]
        code = code or reasons[0].get("code")
    more = f" (+{len(reasons) - 1})" if isinstance(reasons, list) and len(reasons) > 1 else ""
    return f"{message}{more}  [{code}]".strip() if code else message


def _values(*names: str) -> Callable[[_Details], str]:
    """Return a note of some values, as they are."""

    def note(details: _Details) -> str:
        return "  ".join(_short(details[name]) for name in names if details.get(name) not in (None, "", [], {}))

    return note


def _short(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return f"{text[:_DIGEST_CHARS]}…" if text.startswith("sha256:") else text[:_MESSAGE_CHARS_MAX]


def _admitted(details: _Details) -> str:
    part = f"a part of {details['parent']}" if details.get("parent") else ""
    return "  ".join(filter(None, (counted(int(details.get("steps", 0)), "step"), part)))


def _ended(details: _Details) -> str:
    counts = ", ".join(f"{details[word]} {word}" for word in ("completed", "failed", "skipped") if details.get(word))
    return "  ".join(filter(None, (str(details.get("status", "")), counts)))


def _tried(details: _Details) -> str:
    attempt = details.get("attempt")
    tried = f"attempt {attempt}" if isinstance(attempt, int) and attempt > 1 else ""
    return "  ".join(filter(None, (str(details.get("kind", "")), tried)))


def _pruned(details: _Details) -> str:
    return counted(len(details.get("missions", [])), "mission")


def _skipped(details: _Details) -> str:
    steps = details.get("steps", [])
    return ", ".join(map(str, steps[:5])) + ("" if len(steps) <= 5 else f" and {len(steps) - 5} more")  # noqa: PLR2004


def _read(details: _Details) -> str:
    asked = details.get("filter") or {}
    parts = [f"{name}={_short(value)}" for name, value in asked.items() if name != "mission_id"]
    if "mission_id" in details:
        parts.insert(0, str(details["mission_id"]))
    if "end" in details and "first" in details:
        parts.append(_range(int(details["first"]), int(details["end"]) - 1))
    if details.get("ended"):
        parts.append(f"{counted(int(details.get('events', 0)), 'event')} read")
    elif details.get("follow"):
        parts.append("and on")
    return "  ".join(parts)


def _range(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first} to {last}" if first < last else "nothing yet"


_NOTES: Final[Mapping[str, Callable[[_Details], str]]] = {
    "gateway.started": _values("bundle"),
    "mission.admitted": _admitted,
    "mission.ended": _ended,
    "mission.retried": lambda details: f"run {details.get('run')}",
    "mission.pruned": _pruned,
    "mission.cancel_requested": _values("reason"),
    "mission.paused": _values("reason"),
    "step.allowed": _tried,
    "step.refused": _tried,
    "step.ended": _values("status"),
    "step.skipped": _skipped,
    "constraint.violated": _values("rule", "kind"),
    "approval.decided": _values("state"),
    "approval.requested": _values("roles"),
    "audit.read": _read,
    "audit.replayed": _values("same", "differs", "not_reproducible"),
    "audit.stopped": _values("reason"),
    "audit.pruned": _values("reason"),
    "policy.bundle_activated": _values("revision", "cause"),
    "policy.bundle_asked": _values("revision", "cause"),
    "policy.bundle_published": _values("revision", "origin"),
    "policy.bundle_refused": _values("where"),
    "rpc.denied": _values("mission_id"),
}
_FAMILY_NOTES: Final[Mapping[str, Callable[[_Details], str]]] = {
    "effect": _values("op"),
    "hook": _values("version", "kind"),
}
