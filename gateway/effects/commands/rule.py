"""What policy data opens of one command: the program, the arguments that it may be given, and what it may take."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from gateway.effects.commands.pattern import TokenPattern

Form: TypeAlias = Literal["attached", "separate", "either"]

TOKENS_MAX: Final = 64  # of one command line, the name included
TOKEN_CHARS_MAX: Final = 4_096
TOKEN: Final = re.compile(r"[A-Za-z0-9_\-./:=@,+]{1,4096}")  # the type `argv` of docs/sanitization.md
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
OUTPUT_BYTES_MAX: Final = 64 * 1024  # of standard output; it goes through the journal
ERRORS_BYTES_MAX: Final = 16 * 1024  # of standard error
STDIN_BYTES_MAX: Final = 1024 * 1024
WALL_MS_MAX: Final = 55_000  # an effect has 60 seconds, in which its workspace is looked through as well
OPEN_FILES_MAX: Final = 64

# What a dynamically linked program needs to begin: libraries are read, and nothing in these is executed by itself.
READS: Final = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/etc/localtime",
    "/usr/share/locale", "/usr/share/zoneinfo",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLimits:
    """What one run may take. Every field is a maximum; the kernel holds each process to the first four after `wall`."""

    wall_ms_max: int = 10_000
    cpu_seconds_max: int = 10  # of each process
    memory_bytes_max: int = 512 * 1024 * 1024  # address space of each process, and resident memory of all together
    file_bytes_max: int = 16 * 1024 * 1024  # of each file that is written
    processes_max: int = 1  # at a time; 1: it cannot fork at all
    output_bytes_max: int = OUTPUT_BYTES_MAX  # of standard output; more is read and thrown away


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
