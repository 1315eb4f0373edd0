"""keys rotate-payloads: a new master key for what is kept of missions, while the gateway does not run."""

from rich.text import Text

from engine.clock import SystemClock
from engine.errors import EngineError
from gateway.cli.options import HomeOption, OutputOption, default_home
from gateway.cli.output import OUT, Output, counted, fail, print_json, said
from gateway.config import load_config
from gateway.folders import STORE_FILE
from gateway.store.rotation import rotate_master_key
from gateway.workers.limits import hide_memory


def rotate_payloads(
    *,
    home: HomeOption = default_home(),  # noqa: B008 - typer calls it, and --help shows the answer
    output: OutputOption = Output.TEXT,
) -> None:
    """Wrap the keys of all missions by a new master key, and destroy the old one; the gateway must not run."""
    try:
        hide_memory()
        source = load_config(home).secrets.source(home)
        count = rotate_master_key(home / STORE_FILE, source, SystemClock())
    except EngineError as error:
        fail(error, output)
    if output is Output.JSON:
        print_json({"rotated": count})
        return
    OUT.print(Text.assemble(("✓ ", "green"), said(f"{counted(count, 'key')} wrapped by a new master key")))
    OUT.print(said("  copies of the store from before need the old key, which is gone", "dim"))
