"""sanitize: judge values of one type, without a gateway."""

from enum import StrEnum
from typing import Annotated

import typer

from gateway.sanitizer.lines import LINE_BYTES_MAX, sanitize_lines


class ArgumentType(StrEnum):
    """The types that can be asked for by name."""

    PATH = "path"
    URL = "url"
    HOST = "host"
    IDENTIFIER = "identifier"
    ARGV = "argv"
    HEADER = "header"
    TEXT = "text"


def sanitize(
    type_name: Annotated[ArgumentType, typer.Argument(metavar="TYPE", help="path, url, host, identifier, argv, …")],
) -> None:
    """Read JSON strings from standard input, one a line; print a verdict for each: {"ok", "value", "code"}."""
    lines = iter(lambda: typer.get_binary_stream("stdin").readline(LINE_BYTES_MAX + 1), b"")
    out = typer.get_binary_stream("stdout")
    for verdict in sanitize_lines(type_name.value, lines):
        out.write(verdict)
        out.flush()  # at once: whoever asks line by line waits for it
