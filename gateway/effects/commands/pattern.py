"""Patterns of argument tokens, in linear time: a token matches as a whole or not at all.

They are compiled by Rust's `regex`, as those of JSON Schemas are (docs/adr/0006-sanitizer.md): like RE2 it takes time
linear in the token, and has neither look-around nor back-references.
"""

from dataclasses import dataclass
from typing import Final

import jsonschema_rs

PATTERN_CHARS_MAX: Final = 512
_COMPILED_BYTES_MAX: Final = 256 * 1024
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class TokenPattern:
    """A compiled pattern."""

    text: str
    _whole: jsonschema_rs.Draft202012Validator

    @classmethod
    def compile(cls, text: str) -> "TokenPattern":
        """Compile a pattern, alone first: what is unbalanced must not become balanced by what is put around it.

        Raises:
            ValueError: it is too long, or no pattern.
        """
        if not 0 < len(text) <= PATTERN_CHARS_MAX:
            raise ValueError(f"a pattern has 1 to {PATTERN_CHARS_MAX} characters")
        _compiled(text)
        return cls(text, _compiled(rf"\A(?:{text})\z"))

    def matches(self, token: str) -> bool:
        """Return whether the whole of `token` matches."""
        return self._whole.is_valid(token)


def _compiled(text: str) -> jsonschema_rs.Draft202012Validator:
    try:
        return jsonschema_rs.Draft202012Validator(
            {"$schema": _DIALECT, "type": "string", "pattern": text},
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_COMPILED_BYTES_MAX),
            offline=True,
        )
    except (jsonschema_rs.ValidationError, ValueError) as error:
        raise ValueError("no pattern of linear time (look-around and back-references are none)") from error
