"""Events of the decision log, in OPA's format: one JSON object a decision, masked before it leaves this module.

Source: openpolicyagent.org/docs/management-decision-logs; `EventV1` of OPA's plugins/logs.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.decisions.entry import Entry
from gateway.decisions.mask import WHOLE_INPUT, Mask, apply_mask, read_mask
from gateway.policy.bundle import Bundle
from gateway.policy.decision import Decision
from gateway.policy.engine import Entrypoint

BUNDLE_NAME: Final = "missiongate"
_BUNDLES_KNOWN_MAX: Final = 256
_LONG_NUMBER: Final = re.compile(rb"[0-9]{19}")
# Line ends to some readers of lines; JSON may spell them out.
_ESCAPES: Final = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """What the log says of a bundle, and what the bundle lets it say."""

    revision: str
    mask: Mask


class KnownBundles:
    """The bundles that decide or have decided, by digest. Each is learned before it answers."""

    def __init__(self) -> None:
        self._known: dict[str, BundleFacts] = {}

    def learn(self, bundle: Bundle) -> None:
        """Read what the log needs of a bundle; of more than a few hundred, the first are forgotten.

        Raises:
            PolicyInvalidError: `policy.decision_log`, its mask is none. The bundle must not be activated.
        """
        facts = BundleFacts(bundle.revision or bundle.digest, read_mask(bundle.data))
        known = {digest: other for digest, other in self._known.items() if digest != bundle.digest}
        known[bundle.digest] = facts
        while len(known) > _BUNDLES_KNOWN_MAX:
            del known[next(iter(known))]
        self._known = known  # in one step: the writer's thread reads it

    def of(self, digest: str) -> BundleFacts:
        """Return what is known of a bundle; of an unknown one nothing of the input may be told."""
        return self._known.get(digest) or BundleFacts(digest, WHOLE_INPUT)


def parse_document(document: bytes) -> Any:
    """Return the value of a document, whole numbers exact however long; None where it is no JSON that can be told."""
    try:
        if _LONG_NUMBER.search(document):
            return json.loads(document, parse_constant=_no_constant)
        return orjson.loads(document)
    except (ValueError, RecursionError):
        return None


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def path_of(entrypoint: Entrypoint) -> str:
    """Return the path of OPA's data API that would answer the same."""
    return f"gateway/{entrypoint}/decision"


def result_of(decision: Decision) -> dict[str, object]:
    """Return a decision as the rule's value; the bundle is told elsewhere."""
    document = decision.document()
    document.pop("bundle", None)
    return document


def log_event(entry: Entry, at: str, value: Any, facts: BundleFacts, labels: Mapping[str, str]) -> bytes:
    """Return the event of a decision, one line of JSON without its end.

    Args:
        entry: the decision.
        at: when it was taken, RFC 3339.
        value: of its document (`parse_document`), changed by the mask; None: there is none, or none that can be told.
        facts: of the bundle that answered.
        labels: of this gateway.
    """
    event: dict[str, Any] = {
        "labels": dict(labels),
        "decision_id": entry.id,
        "bundles": {BUNDLE_NAME: {"revision": facts.revision}},
        "path": path_of(entry.entrypoint),
        "input": value,
        "result": result_of(entry.decision),
        "requested_by": "",
        "timestamp": at,
        "metrics": {"timer_rego_query_eval_ns": entry.eval_ns},
    }
    apply_mask(facts.mask if value is not None else WHOLE_INPUT, event)
    event["requested_by"] = _asker(event.get("input"))
    line = _encoded(event)
    for raw, spelled in _ESCAPES:
        line = line.replace(raw, spelled)
    return line


def encoded(value: object) -> bytes:
    """Return a value as JSON on one line.

    Raises:
        ValueError, RecursionError: no JSON can spell it.
    """
    try:
        return orjson.dumps(value)
    except TypeError:  # a whole number of more than 64 bits, half a surrogate pair, or deeper than orjson writes
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _encoded(event: dict[str, Any]) -> bytes:
    """Return the event as JSON; an input that no JSON can spell is erased whole."""
    try:
        return encoded(event)
    except (ValueError, RecursionError):
        return encoded({**event, "input": None, "erased": ["/input"]})


def _asker(value: Any) -> str:
    """Return who asked, as far as the mask has left it."""
    principal = value.get("principal") if isinstance(value, dict) else None
    subject = principal.get("subject") if isinstance(principal, dict) else None
    tenant = principal.get("tenant") if isinstance(principal, dict) else None
    if not isinstance(subject, str):
        return ""
    return f"{tenant}/{subject}" if isinstance(tenant, str) else subject
