"""What policy data opens of one command: the program, the arguments that it may be given, and what it may take."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from gateway.effects.commands.limits import CommandLimits
from gateway.effects.commands.pattern import TokenPattern

Form: TypeAlias = Literal["attached", "separate", "either"]

TOKENS_MAX: Final = 64  # of one command line, the name included
TOKEN_CHARS_MAX: Final = 4_096
TOKEN: Final = re.compile(r"[A-Za-z0-9_\-./:=@,+]{1,4096}")  # the type `argv` of docs/sanitization.md
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class OptionRule:
    """A declared option: its exact name, and its value's pattern where it takes one."""

    name: str  # "-n", "--count"; a bundle such as "-xzf" is an option of its own
    value: TokenPattern | None = None
    form: Form = "separate"  # "--o v" and "-o v"; attached: "--o=v" and "-ov"

    @property
    def attachment(self) -> str:
        """What stands before an attached value."""
        return f"{self.name}=" if self.name.startswith("--") else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRule:
    """One entry of `commands` in data.gateway.config. What it does not declare is refused."""

    name: str
    executable: str  # absolute path of an ELF program
    sha256: str | None = None  # of the program's bytes; None: whatever stands at the path
    fixed: Sequence[str] = ()  # put before what the step gives, and not looked at
    options: Mapping[str, OptionRule] = field(default_factory=lambda: MappingProxyType({}))
    positionals: Sequence[TokenPattern] = ()  # by place; each must be given, up to `required`
    required: int = 0
    rest: TokenPattern | None = None  # of any more positionals
    end_of_options: bool = False  # whether `--` may be given, behind which all are positionals
    stdin: bool = False  # whether standard input may be given
    reads: Sequence[str] = ()  # read beside `READS`
    executes: Sequence[str] = ()  # read and executed, by the program itself or by its children
    limits: CommandLimits = field(default_factory=CommandLimits)
