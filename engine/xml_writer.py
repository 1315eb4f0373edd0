"""Writes JSON values as XML 1.0 from which they can be read back exactly, whatever their keys and texts hold.

    {"size": 3, "a b": ["x", null]}     <value type="object">
                                          <size type="integer">3</size>
                                          <a_x0020_b type="array">
                                            <item type="string">x</item>
                                            <item type="null"/>
                                          </a_x0020_b>
                                        </value>

A key becomes the element's name. What a name cannot hold stands as `_xHHHH_`, and so does an underscore before an x;
the empty key is `_x_`. Source: ISO/IEC 9075-14 (SQL/XML), mapping of identifiers to XML names.
A text with characters that XML cannot hold stands as a JSON string, marked `encoding="json"`. White space between
elements means nothing; inside a string it is kept.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from engine.values import JsonValue

ROOT: Final = "value"
ITEM: Final = "item"

# ASCII only: readers of XML 1.0's fourth and fifth edition differ in which letters beyond it a name may have.
_NOT_OF_A_NAME: Final = re.compile(r"[^A-Za-z0-9._-]|_(?=x)|^[^A-Za-z_]|^[xX](?=[mM][lL])")
# Source: XML 1.0, production 2 (Char).
_NOT_OF_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKUP: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})  # a bare \r is read as \n


def write_xml(value: JsonValue) -> bytes:
    """Return `value` as one XML document, UTF-8, members in the order that they have."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    _write(ROOT, value, "", lines)
    return ("\n".join(lines) + "\n").encode()


def element_name(key: str) -> str:
    """Return the name of the element that holds the member `key`; different keys have different names."""
    return _NOT_OF_A_NAME.sub(lambda found: f"_x{ord(found[0]):04X}_", key) or "_x_"


def _write(name: str, value: JsonValue, indent: str, lines: list[str]) -> None:
    if isinstance(value, Mapping):
        children = [(element_name(key), item) for key, item in value.items()]
        _write_all(name, "object", children, indent, lines)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        _write_all(name, "array", [(ITEM, item) for item in value], indent, lines)
    else:
        lines.append(indent + _scalar(name, value))


def _write_all(name: str, kind: str, children: Sequence[tuple[str, JsonValue]], indent: str, lines: list[str]) -> None:
    if not children:
        lines.append(f'{indent}<{name} type="{kind}"/>')
        return
    lines.append(f'{indent}<{name} type="{kind}">')
    for child, item in children:
        _write(child, item, indent + "  ", lines)
    lines.append(f"{indent}</{name}>")


def _scalar(name: str, value: str | float | bool | None) -> str:
    if value is None:
        return f'<{name} type="null"/>'
    if isinstance(value, str):
        if _NOT_OF_XML.search(value):
            return f'<{name} type="string" encoding="json">{json.dumps(value).translate(_MARKUP)}</{name}>'
        return f'<{name} type="string">{value.translate(_MARKUP)}</{name}>'
    if isinstance(value, bool):
        return f'<{name} type="boolean">{str(value).lower()}</{name}>'
    kind = "integer" if isinstance(value, int) else "number"
    return f'<{name} type="{kind}">{value!r}</{name}>'
