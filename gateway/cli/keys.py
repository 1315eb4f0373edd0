"""keys new, show, passphrase, rotate: key pairs for who signs hooks, and the key that signs a gateway's log."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from engine.audit.keyfile import KeyFile, replace_key, save_key
from engine.audit.keys import Ed25519Signer
from engine.clock import SystemClock
from engine.errors import EngineError
from gateway.cli.options import HomeOption, OutputOption, PassphraseFileOption, asked_for, default_home
from gateway.cli.output import OUT, Output, fail, print_facts, print_json, said
from gateway.config import load_config
from gateway.errors import ConfigurationError
from gateway.folders import AUDIT_FOLDER
from gateway.sandbox.signature import RESERVED
from gateway.signing.changing import KeyChange, LogKeys
from gateway.signing.passphrase import open_key
from gateway.signing.signers import FILE_SIGNER
from gateway.workers.limits import hide_memory

KeyArgument = Annotated[
    Path, typer.Argument(help="A signing key, such as keys/log.key.", metavar="FILE", show_default=False)
]


def new(
    name: Annotated[str, typer.Argument(help="Who signs: best a URL without scheme of one's own.", show_default=False)],
    *,
    out: Annotated[Path, typer.Option("--out", help="Where the signing key goes, mode 0600; never overwritten.")],
    encrypt: Annotated[bool, typer.Option("--encrypt", help="Keep it under a passphrase.")] = False,
    passphrase_file: PassphraseFileOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Make an Ed25519 key pair; print the half that goes into a gateway's configuration."""
    encrypt = encrypt or passphrase_file is not None
    with _failing(output):
        signer = _generated(name)
        with asked_for(passphrase_file).reading(out, new=True) if encrypt else nullcontext() as phrase:
            save_key(out, signer, phrase)
    vkey = signer.verifier_key()
    if output is Output.JSON:
        print_json({"name": name, "key_file": str(out), "verifier_key": vkey, "encrypted": encrypt})
        return
    OUT.print(Text.assemble(("✓ ", "green"), said(f"{out} holds a new signing key; keep it to yourself")))
    print_facts({"verifier key": vkey})
    OUT.print("\nFor the missiongate.toml of a gateway that is to accept what it signs:")
    OUT.print("  [[publishers]]")
    OUT.print(said(f"  key = {json.dumps(vkey)}"))


def show(file: KeyArgument, *, output: OutputOption = Output.TEXT) -> None:
    """Show the public half of a signing key, and whether the key is encrypted. It takes no passphrase."""
    with _failing(output):
        key = KeyFile.read(file)
    if output is Output.JSON:
        print_json({"key_file": str(file), "verifier_key": key.verifier_key, "encrypted": key.encrypted})
        return
    print_facts({"verifier key": key.verifier_key, "encrypted": "yes" if key.encrypted else "no"})


def passphrase(
    file: KeyArgument,
    *,
    passphrase_file: PassphraseFileOption = None,
    new_passphrase_file: Annotated[
        Path | None, typer.Option("--new-passphrase-file", help="File with the new passphrase. Else it is asked for.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Keep the key without a passphrase from now on.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Give a signing key a passphrase, or another one. The key stays the same."""
    with _failing(output):
        if remove and new_passphrase_file is not None:
            raise ConfigurationError("write either --remove or --new-passphrase-file")
        signer = open_key(file, asked_for(passphrase_file))
        with nullcontext() if remove else asked_for(new_passphrase_file).reading(file, new=True) as phrase:
            replace_key(file, signer, phrase)
    if output is Output.JSON:
        print_json({"key_file": str(file), "verifier_key": signer.verifier_key(), "encrypted": not remove})
        return
    done = "is no longer encrypted" if remove else "is under the new passphrase"
    OUT.print(Text.assemble(("✓ ", "green"), said(f"{file} {done}")))


def rotate(
    *,
    keep_old: Annotated[
        bool, typer.Option("--keep-old", help="Keep the old key, under its id, instead of destroying it.")
    ] = False,
    home: HomeOption = default_home(),  # noqa: B008 - typer calls it, and --help shows the answer
    output: OutputOption = Output.TEXT,
) -> None:
    """Hand the log of a gateway, which is stopped, on to a new key; or end what was broken off."""
    with _failing(output):
        config = load_config(home).audit
        choice, following = config.choice(home, terminal=True), config.following(home, terminal=True)
        keys = LogKeys(home=home, log=home / AUDIT_FOLDER, passphrase=choice.passphrase)
        if following is not None:
            moving = keys.move(choice.open(), following.open(), SystemClock(), config.limits())
        elif config.signer == FILE_SIGNER:
            moving = keys.change(SystemClock(), config.limits(), keep_old=keep_old)
        else:
            raise ConfigurationError(
                f"audit.signer is {config.signer!r}: name who comes after it in audit.next_signer",
                code="config.signer",
            )
        done = asyncio.run(moving)
    _print_change(done, output, moved=following is not None)


def _print_change(done: KeyChange, output: Output, *, moved: bool) -> None:
    made = done.rotation
    if output is Output.JSON:
        kept = None if done.kept is None else str(done.kept)
        print_json({"seq": made.seq, "old": made.old, "new": made.new, "resumed": done.resumed, "kept": kept})
        return
    what = "what was broken off is done: the log is" if done.resumed else "the log is"
    OUT.print(Text.assemble(("✓ ", "green"), f"{what} handed on to a new key, by event {made.seq}"))
    facts: dict[str, object] = {"old key": made.old, "new key": made.new}
    print_facts(facts if moved else {**facts, "old file": done.kept or "destroyed"})
    if moved:
        OUT.print(
            "\nNow audit.next_signer becomes audit.signer in missiongate.toml, and so do its settings; the gateway"
        )
        OUT.print("does not start before. The old key is where it was: destroy it, unless you have a reason not to.")
    OUT.print("\nGive the new key to auditors, witnesses and whoever else verifies the log. Who has the old one finds")
    OUT.print("the new one through rotations/, where the old key has signed for it; but should the old key have been")
    OUT.print("stolen, only the new one, got another way, shows what the thief cannot sign.")


@contextmanager
def _failing(output: Output) -> Iterator[None]:
    """Print whatever goes wrong, and leave with its exit code; keys in memory are closed to other processes."""
    try:
        hide_memory()
        yield
    except EngineError as error:
        fail(error, output)
    except OSError as error:
        fail(ConfigurationError(f"the kernel refuses: {error.strerror}", code="config.kernel"), output)


def _generated(name: str) -> Ed25519Signer:
    if name in RESERVED:
        raise ConfigurationError(f"no key may be named {name!r}: that is what a gateway's own are", code="key.name")
    try:
        return Ed25519Signer.generate(name)
    except ValueError as error:
        raise ConfigurationError(str(error), code="key.name") from error
