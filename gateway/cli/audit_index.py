"""audit index: the index of the log, which is derived from it and made anew at any time."""

import os
import time
from contextlib import closing

from rich.text import Text

from engine.errors import EngineError
from gateway.auditing.database import INDEX_FILE
from gateway.auditing.folder import LogFolder
from gateway.auditing.index import LogIndex
from gateway.cli.audit_source import LogOption
from gateway.cli.options import HomeOption, OutputOption, default_home
from gateway.cli.output import OUT, Output, counted, fail, print_json, said, span
from gateway.folders import AUDIT_FOLDER
from gateway.store.opening import lock


def rebuild(
    *,
    home: HomeOption = default_home(),  # noqa: B008 - typer calls it, and --help shows the answer
    log: LogOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Make the index of a log anew. A gateway that runs keeps its own."""
    directory = log or home / AUDIT_FOLDER
    began = time.monotonic()
    try:
        size = LogFolder(directory).size()
        held = lock(directory / INDEX_FILE)
        try:
            with closing(LogIndex.open(directory)) as index:
                index.empty()
                index.catch_up(size)
        finally:
            os.close(held)
    except EngineError as error:
        fail(error, output)
    seconds = time.monotonic() - began
    rate = int(size / seconds) if seconds else size
    if output is Output.JSON:
        print_json({"file": str(directory / INDEX_FILE), "events": size, "seconds": round(seconds, 3)})
        return
    text = f"{counted(size, 'event')} in {span(seconds)}, {rate:,} a second: {directory / INDEX_FILE}"
    OUT.print(Text.assemble(("✓ ", "green"), said(text)))
