"""Entry point of `missiongate` and of `python -m gateway`."""

import io
import os
import sys

from gateway.cli.app import app

DEBUG_VARIABLE = "MISSIONGATE_DEBUG"


def main() -> None:
    """Run the command line; what nobody foresaw becomes one line and exit code 4, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale without "✓" must not stop a command
    try:
        app()
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        shown = "".join(c if c.isprintable() else "?" for c in f"{type(error).__name__}: {error}")
        sys.stderr.write(f"✗ missiongate itself failed: {shown}\n  {DEBUG_VARIABLE}=1 shows where\n")
        from gateway.cli.output import Exit  # noqa: PLC0415 - half a second that no command line without output pays

        sys.exit(Exit.UNAVAILABLE)


if __name__ == "__main__":
    main()
