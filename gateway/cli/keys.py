"""keys new: a key pair for somebody who signs hooks."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from engine.audit.keys import Ed25519Signer
from engine.errors import EngineError
from gateway.cli.options import OutputOption
from gateway.cli.output import OUT, Output, fail, print_facts, print_json, said
from gateway.errors import ConfigurationError
from gateway.sandbox.signature import RESERVED

app = typer.Typer(help="Signing keys.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Signing keys."""


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Who signs: best a URL without scheme of one's own.", show_default=False)],
    *,
    out: Annotated[Path, typer.Option("--out", help="Where the signing key goes, mode 0600; never overwritten.")],
    output: OutputOption = Output.TEXT,
) -> None:
    """Make an Ed25519 key pair; print the half that goes into a gateway's configuration."""
    try:
        signer = _generated(name)
        signer.save(out)
    except EngineError as error:
        fail(error, output)
    if output is Output.JSON:
        print_json({"name": name, "key_file": str(out), "verifier_key": signer.verifier_key()})
        return
    OUT.print(Text.assemble(("✓ ", "green"), said(f"{out} holds a new signing key; keep it to yourself")))
    print_facts({"verifier key": signer.verifier_key()})
    OUT.print("\nFor the missiongate.toml of a gateway that is to accept what it signs:")
    OUT.print("  [[publishers]]")
    OUT.print(said(f"  key = {json.dumps(signer.verifier_key())}"))


def _generated(name: str) -> Ed25519Signer:
    if name in RESERVED:
        raise ConfigurationError(f"no key may be named {name!r}: that is what a gateway's own are", code="key.name")
    try:
        return Ed25519Signer.generate(name)
    except ValueError as error:
        raise ConfigurationError(str(error), code="key.name") from error
