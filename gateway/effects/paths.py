"""A path of a file effect, parsed into the components that the kernel will walk."""

from dataclasses import dataclass
from typing import Final

from gateway.effects.arguments import encode
from gateway.errors import EffectError

PATH_BYTES_MAX: Final = 4_095  # PATH_MAX less the NUL, limits.h
COMPONENT_BYTES_MAX: Final = 255  # NAME_MAX
DEPTH_MAX: Final = 32  # directories above a file, and the file


@dataclass(frozen=True, slots=True)
class WorkspacePath:
    """A relative path without `.`, `..` or empty components: one spelling for one file."""

    text: str
    parents: tuple[str, ...]
    name: str

    @classmethod
    def parse(cls, text: str) -> "WorkspacePath":
        """Parse, and refuse what has a second spelling.

        Raises:
            EffectError: `effect.path_invalid`.
        """
        if not text or "\0" in text or len(encode("path", text)) > PATH_BYTES_MAX:
            raise _invalid(text, f"a path has 1 to {PATH_BYTES_MAX} bytes and no NUL")
        parts = text.split("/")
        if any(part in {"", ".", ".."} for part in parts):
            raise _invalid(text, "a path is relative and has no '.', '..' or empty component")
        if len(parts) > DEPTH_MAX or any(len(encode("path", part)) > COMPONENT_BYTES_MAX for part in parts):
            raise _invalid(text, f"a path has at most {DEPTH_MAX} components of {COMPONENT_BYTES_MAX} bytes")
        return cls(text, tuple(parts[:-1]), parts[-1])


def _invalid(text: str, message: str) -> EffectError:
    return EffectError(f"{text[:128]!r}: {message}", code="effect.path_invalid")
