"""init and serve: make a gateway's home, and run the gateway that lives there."""

import asyncio
import resource
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from rich.text import Text

from engine.audit.keys import Signer
from engine.clock import SystemClock
from engine.errors import EngineError
from gateway.assembly import Gateway, running_gateway
from gateway.cli.notify import READY, STOPPING, ServiceManager
from gateway.cli.options import HomeOption, OutputOption, PassphraseFileOption, asked_for, default_home
from gateway.cli.output import OUT, Output, counted, fail, print_facts, print_json, said
from gateway.cli.signals import Signals
from gateway.config import Config, load_config
from gateway.errors import ConfigurationError
from gateway.home import make_home
from gateway.signing.signers import KEY_FILE
from gateway.telemetry.logs import Logs
from gateway.workers.limits import hide_memory


def init(
    *,
    home: HomeOption = default_home(),  # noqa: B008 - typer calls it, and --help shows the answer
    encrypt_key: Annotated[
        bool, typer.Option("--encrypt-key", help="Keep the key that signs the log under a passphrase.")
    ] = False,
    passphrase_file: PassphraseFileOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Make the gateway's home: signing key, policy bundle, configuration, first token."""
    try:
        if encrypt_key or passphrase_file is not None:
            with asked_for(passphrase_file).reading(home / KEY_FILE, new=True) as phrase:
                made = make_home(home, passphrase=phrase, passphrase_file=passphrase_file)
        else:
            made = make_home(home)
    except EngineError as error:
        fail(error, output)
    if output is Output.JSON:
        print_json({"home": str(made.home), "token_file": str(made.token_file), "verifier_key": made.verifier_key})
        return
    OUT.print(Text.assemble(("✓ ", "green"), said(f"{made.home} is ready")))
    print_facts({"admin token": made.token_file, "verifier key": made.verifier_key, "policy": made.home / "policies"})
    OUT.print("\nNext:")
    OUT.print(said(f"  missiongate serve --home {quote(str(made.home))}"))
    OUT.print(said(f"  missiongate submit --token-file {quote(str(made.token_file))} --watch MISSION.yaml"))


def serve(
    *,
    home: HomeOption = default_home(),  # noqa: B008 - as above
    listen: Annotated[str | None, typer.Option(help="host:port instead of the configured one; port 0 is free.")] = None,
    anonymous: Annotated[
        bool | None, typer.Option("--anonymous/--no-anonymous", help="Let loopback callers in without a token.")
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Run the gateway until SIGTERM or SIGINT; SIGHUP reads the configuration anew."""
    try:
        load = partial(load_config, home, listen=listen, anonymous=anonymous)
        config = load()
        with closing(Logs(SystemClock(), config.log.level, config.log.format)) as logs:
            _prepare_process()
            signer = config.audit.choice(home, terminal=True).open()
            asyncio.run(_serve(home, config, signer, load, logs, output))
    except EngineError as error:
        fail(error, output)


def _prepare_process() -> None:
    """Close the signing key's memory to other processes of this user, and take all the descriptors that we may have.

    Raises:
        ConfigurationError: the kernel refuses.
    """
    try:
        hide_memory()
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # two for each running mission
    except OSError as error:
        raise ConfigurationError(f"the kernel refuses: {error.strerror}", code="config.kernel") from error


async def _serve(
    home: Path, config: Config, signer: Signer, load: Callable[[], Config], logs: Logs, output: Output
) -> None:
    signals, manager = Signals(), ServiceManager()
    signals.install()
    async with running_gateway(home, config, signer=signer, load=load, cut=signals.cut) as gateway:
        gateway.reloader.adopting("log.level", adopt=lambda config: logs.adopt(config.log.level))
        _announce(gateway, output)
        manager.tell(READY, status=f"serving on {gateway.address}")

        async def reload() -> None:
            manager.reloading()
            try:
                await gateway.reloader.reload()
            finally:
                manager.tell(READY)

        reloads = asyncio.create_task(signals.follow_reloads(reload))
        await signals.stop.wait()
        reloads.cancel()
        manager.tell(STOPPING, status="steps at work come to an end")
        if output is Output.TEXT:
            seconds = config.operation.drain_seconds
            told = f"stopping: steps at work have {seconds:g} s (a second signal ends that); the next start goes on"
            OUT.print(told, style="dim")
    if output is Output.TEXT:
        OUT.print("stopped")


def _announce(gateway: Gateway, output: Output) -> None:
    facts = {
        "address": gateway.address,
        "web_address": gateway.web_address,
        "client_address": gateway.bound.client_address,
        "plain_address": gateway.bound.plain_address,
        "sockets": list(gateway.bound.sockets),
        "verifier_key": gateway.verifier_key,
        "bundle": gateway.bundle.digest,
        "kinds": [hook.name for hook in gateway.hooks],
        "isolation": list(gateway.isolation.in_force),
        "resumed": list(gateway.recovered.resumed),
        "interrupted": list(gateway.recovered.interrupted),
    }
    if output is Output.JSON:
        print_json(facts)
        return
    OUT.print(Text.assemble(("● ", "green"), f"serving on {gateway.address}"))
    shown: dict[str, object] = {
        "policy": gateway.bundle.digest,
        "step kinds": ", ".join(hook.name for hook in gateway.hooks),
        "workers": ", ".join(gateway.isolation.in_force),
        "log key": gateway.verifier_key,
    }
    if gateway.bound.client_address:
        shown["certificates"] = f"wanted on {gateway.bound.client_address}"
    if gateway.bound.plain_address:
        shown["without TLS"] = gateway.bound.plain_address
    if gateway.bound.sockets:
        shown["sockets"] = ", ".join(gateway.bound.sockets)
    if gateway.web_address:
        shown["metrics"] = f"http://{gateway.web_address}/metrics"
    if resumed := gateway.recovered.resumed:
        shown["resumed"] = f"{counted(len(resumed), 'mission')} that an earlier process left unfinished"
    if interrupted := gateway.recovered.interrupted:
        shown["interrupted"] = f"{counted(len(interrupted), 'mission')} that policy or a limit no longer lets go on"
    print_facts(shown)
