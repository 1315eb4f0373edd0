"""init and serve: make a gateway's home, and run the gateway that lives there."""

import asyncio
import logging
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from engine.errors import EngineError
from gateway.assembly import Gateway, running_gateway
from gateway.cli.options import HomeOption, OutputOption, default_home
from gateway.cli.output import OUT, Output, fail, print_json
from gateway.config import Config, load_config
from gateway.home import make_home


def init(
    *,
    home: HomeOption = default_home(),  # noqa: B008 - shown in --help as the default
    output: OutputOption = Output.TEXT,
) -> None:
    """Make the gateway's home: signing key, policy bundle, configuration, first token."""
    try:
        made = make_home(home)
    except EngineError as error:
        fail(error, output)
    if output is Output.JSON:
        print_json({"home": str(made.home), "token_file": str(made.token_file), "verifier_key": made.verifier_key})
        return
    OUT.print(Text("✓ ", style="green").append(f"{made.home} is ready"))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row(Text("admin token", style="dim"), Text(str(made.token_file)))
    table.add_row(Text("verifier key", style="dim"), Text(made.verifier_key))
    table.add_row(Text("policy", style="dim"), Text(str(made.home / "policies")))
    OUT.print(table)
    OUT.print(
        f"\nNext:\n  missiongate serve --home {made.home}\n"
        f"  missiongate submit --token-file {made.token_file} --watch MISSION.yaml"
    )


def serve(
    *,
    home: HomeOption = default_home(),  # noqa: B008 - as above
    listen: Annotated[str | None, typer.Option(help="host:port instead of the configured one; port 0 is free.")] = None,
    anonymous: Annotated[
        bool | None, typer.Option("--anonymous/--no-anonymous", help="Let loopback callers in without a token.")
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Run the gateway until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        config = load_config(home)
        changes = {"listen": listen, "anonymous": anonymous}
        config = type(config).model_validate(
            {**config.model_dump(), **{name: value for name, value in changes.items() if value is not None}}
        )
        asyncio.run(_serve(home, config, output))
    except EngineError as error:
        fail(error, output)


async def _serve(home: Path, config: Config, output: Output) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with running_gateway(home, config) as gateway:
        _announce(gateway, output)
        await stopping.wait()
        if output is Output.TEXT:
            OUT.print("stopping: no new missions, waiting for those that run", style="dim")
    if output is Output.TEXT:
        OUT.print("stopped")


def _announce(gateway: Gateway, output: Output) -> None:
    facts = {
        "address": gateway.address,
        "verifier_key": gateway.verifier_key,
        "bundle": gateway.bundle.digest,
        "kinds": [hook.name for hook in gateway.hooks],
        "interrupted": list(gateway.interrupted),
    }
    if output is Output.JSON:
        print_json(facts)
        return
    OUT.print(Text("● ", style="green").append(f"serving on {gateway.address}"))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row(Text("policy", style="dim"), Text(gateway.bundle.digest[:19] + "…"))
    table.add_row(Text("step kinds", style="dim"), Text(", ".join(hook.name for hook in gateway.hooks)))
    table.add_row(Text("log key", style="dim"), Text(gateway.verifier_key))
    if gateway.interrupted:
        table.add_row(Text("interrupted", style="yellow"), Text(f"{len(gateway.interrupted)} missions of the last run"))
    OUT.print(table)
