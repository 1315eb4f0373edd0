"""Writes JSON values as YAML that this engine, and any other reader, takes for the same values."""

from typing import Any, Final

import yaml

from engine.core_schema import read_plain
from engine.values import JsonValue

_ENDLESS: Final = 1 << 30  # a folded line would be read the same, and be harder to read


class _Writer(yaml.SafeDumper):
    """Quotes every text that some YAML takes for something else, and never writes an anchor."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value that comes twice twice."""
        del data
        return True


def _text(writer: _Writer, text: str) -> yaml.ScalarNode:
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=None if _is_plain(text) else '"')


def _is_plain(text: str) -> bool:
    """Return whether YAML 1.2 reads the bare text as itself; of YAML 1.1, PyYAML takes care."""
    try:
        return text.isascii() and text.isprintable() and read_plain(text) == text
    except ValueError:
        return False


_Writer.add_representer(str, _text)


def write_yaml(value: JsonValue) -> bytes:
    """Return `value` as one YAML document, UTF-8, members in the order that they have."""
    text: str = yaml.dump(value, Dumper=_Writer, sort_keys=False, allow_unicode=False, width=_ENDLESS)
    return text.encode()
