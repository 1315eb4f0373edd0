"""`windows` and `closings`: spans of time by name, and what is closed outside or inside of them."""

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from engine.values import JsonObject
from gateway.policy_data.fields import invalid, names_of, read_entries, read_list, read_names, read_object, read_text
from gateway.policy_data.selectors import check_selectors

WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
PLACES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "rpc": frozenset({"subjects", "tenants", "roles", "methods"}),
        "mission": frozenset({"subjects", "tenants", "roles", "labels", "kinds"}),
        "step": frozenset({"subjects", "tenants", "roles", "labels", "kinds"}),
        "effect": frozenset({"subjects", "tenants", "roles", "labels", "kinds", "effects", "commands"}),
    }
)
"""Where a closing may hold, and by what it may choose there: what is in the documents of that place."""

_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_MINUTE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:00Z")
_SPANS: Final = ("open_in", "closed_in")
_SELECTORS: Final = frozenset().union(*PLACES.values())


def check_windows(data: JsonObject) -> None:
    """Return if every window has one of the two forms: hours (`from`, `to`, `weekdays`) or dates (`starts`, `ends`).

    Raises:
        PolicyInvalidError: `policy.data_invalid`.
    """
    for name, entry in read_entries("windows", data.get("windows", {})).items():
        field = f"windows.{name}"
        if isinstance(entry, Mapping) and not entry.keys().isdisjoint({"starts", "ends"}):
            _check_dates(field, read_object(field, entry, ("starts", "ends"), ("starts", "ends")))
        else:
            _check_hours(field, read_object(field, entry, ("from", "to", "weekdays"), ("from", "to")))


def _check_dates(field: str, window: JsonObject) -> None:
    for key in ("starts", "ends"):
        text = read_text(f"{field}.{key}", window[key])
        if _MINUTE.fullmatch(text) is None or not _is_moment(text):
            raise invalid(f"{field}.{key}", "must be a minute in UTC, in this form: 2026-12-24T18:00:00Z")
    if not str(window["starts"]) < str(window["ends"]):
        raise invalid(f"{field}.ends", "must be later than starts")


def _check_hours(field: str, window: JsonObject) -> None:
    for key in ("from", "to"):
        text = read_text(f"{field}.{key}", window[key])
        if _CLOCK.fullmatch(text) is None and (key, text) != ("to", "24:00"):
            raise invalid(f"{field}.{key}", "must be a time of day in UTC, from 00:00 to 23:59, or 24:00 where it ends")
    if window["from"] == window["to"]:
        raise invalid(f"{field}.to", 'must not be the time of from; a whole day is from "00:00" to "24:00"')
    if "weekdays" in window:
        read_names(f"{field}.weekdays", window["weekdays"], WEEKDAYS, ", ".join(WEEKDAYS))


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def check_closings(data: JsonObject, operations: Collection[str]) -> None:
    """Return if every closing says where it holds, when, and by what it chooses, all of which exist.

    Raises:
        PolicyInvalidError: `policy.data_invalid`.
    """
    seen: set[str] = set()
    for i, entry in enumerate(read_list("closings", data.get("closings", []))):
        field = f"closings[{i}]"
        known = {"name", "at", "message", *_SPANS, *_SELECTORS}
        closing = read_object(field, entry, known, ("name", "at", "message"))
        for key in ("name", "message"):
            read_text(f"{field}.{key}", closing[key])
        if closing["name"] in seen:
            raise invalid(f"{field}.name", "is the name of another closing")
        seen.add(str(closing["name"]))
        _check_spans(field, closing, names_of(data, "windows"))
        for place in read_names(f"{field}.at", closing["at"], PLACES, ", ".join(PLACES)):
            if unseen := sorted((closing.keys() & _SELECTORS) - PLACES[place]):
                raise invalid(f"{field}.{unseen[0]}", f"is in no {place} document; see at")
        check_selectors(field, closing, data, operations)


def _check_spans(field: str, closing: JsonObject, windows: Collection[str]) -> None:
    given = [key for key in _SPANS if key in closing]
    if len(given) != 1:
        raise invalid(field, "has one of open_in and closed_in")
    read_names(f"{field}.{given[0]}", closing[given[0]], windows, "windows in data.gateway.config")
