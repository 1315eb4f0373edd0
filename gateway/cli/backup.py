"""backup and restore: a copy of a home that can be verified, and a new home of it."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from engine.clock import SystemClock
from engine.errors import EngineError
from gateway.backup.manifest import Manifest
from gateway.backup.restoring import Against, Checked, check_backup, sealed_keys
from gateway.backup.restoring import restore as make_home
from gateway.backup.secret_files import unseal_files
from gateway.backup.taking import Wanted, take_backup
from gateway.cli.options import HomeOption, OutputOption, asked_for, default_home
from gateway.cli.output import ERR, OUT, Output, counted, fail, print_facts, print_json, said
from gateway.config import load_config
from gateway.errors import ConfigurationError
from gateway.workers.limits import hide_memory

_NOTE_BYTES_MAX = 1024 * 1024

KeysOption = Annotated[
    Path | None,
    typer.Option("--keys-passphrase-file", help="File with the passphrase that the keys are sealed under, mode 0600."),
]


def backup(
    *,
    to: Annotated[Path, typer.Option("--to", help="A new folder; never overwritten.", show_default=False)],
    home: HomeOption = default_home(),  # noqa: B008 - typer calls it, and --help shows the answer
    keys_passphrase_file: KeysOption = None,
    keys_in_clear: Annotated[
        bool, typer.Option("--keys-in-clear", help="Copy the keys as they are: who has the backup then has them.")
    ] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Copy a home, also while its gateway runs, and verify the copied log. Without an option, keys are left out."""
    try:
        hide_memory()
        if keys_in_clear and keys_passphrase_file is not None:
            raise ConfigurationError("write either --keys-passphrase-file or --keys-in-clear")
        sealing = keys_passphrase_file is not None
        with asked_for(keys_passphrase_file).reading(to, new=True) if sealing else nullcontext() as phrase:
            wanted = Wanted(passphrase=phrase, clear=keys_in_clear)
            taken = take_backup(home, load_config(home), to, clock=SystemClock(), wanted=wanted)
    except EngineError as error:
        fail(error, output)
    if output is Output.JSON:
        print_json({"folder": str(taken.folder), **_facts(taken.manifest)})
        return
    OUT.print(Text.assemble(("✓ ", "green"), said(f"{taken.folder} holds a whole copy; its log verifies")))
    print_facts(_told(taken.manifest))
    if taken.manifest.keys == "none":
        OUT.print("\nThe keys are not in it, and without them it opens nothing: keep keys/ of the home apart from it.")


def restore(
    folder: Annotated[Path, typer.Argument(help="A backup.", metavar="FOLDER", show_default=False)],
    *,
    home: Annotated[
        Path | None, typer.Option("--home", help="The new home; never overwritten.", show_default=False)
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Verify the backup, and make nothing.")] = False,
    key: Annotated[str, typer.Option("--key", help="The log's verifier key, kept elsewhere.", metavar="VKEY")] = "",
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="A checkpoint of the log that was kept elsewhere.")
    ] = None,
    accept_rollback: Annotated[
        bool, typer.Option("--accept-rollback", help="Restore also what ends before that checkpoint.")
    ] = False,
    keys_passphrase_file: KeysOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Verify a backup, and make a new home of it."""
    try:
        hide_memory()
        if check is (home is not None):
            raise ConfigurationError("write either --home, with where the new home is to be, or --check")
        against = Against(key=key, checkpoint=_note(checkpoint), accept_rollback=accept_rollback)
        checked = check_backup(folder, against)
        if home is not None:
            make_home(checked, home, keys=_keys(checked, keys_passphrase_file))
    except EngineError as error:
        fail(error, output)
    _print_restored(checked, home, output)


def _keys(checked: Checked, passphrase_file: Path | None) -> dict[bytes, bytes]:
    if checked.manifest.keys != "sealed":
        return {}
    with asked_for(passphrase_file).reading(checked.folder) as phrase:
        return unseal_files(sealed_keys(checked.folder), phrase)


def _note(path: Path | None) -> bytes:
    if path is None:
        return b""
    try:
        with path.open("rb") as file:
            return file.read(_NOTE_BYTES_MAX)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}", code="document.unreadable") from error


def _print_restored(checked: Checked, home: Path | None, output: Output) -> None:
    if output is Output.JSON:
        facts = {"home": None if home is None else str(home), **_facts(checked.manifest)}
        print_json({**facts, "key_from_outside": checked.key_from_outside, "rolled_back": checked.rolled_back})
        return
    done = f"{checked.folder} is whole, and its log verifies" if home is None else f"{home} is made of {checked.folder}"
    OUT.print(Text.assemble(("✓ ", "green"), said(done)))
    print_facts(_told(checked.manifest))
    if not checked.key_from_outside:
        ERR.print("! the log was verified against the backup's own key: --key takes one that was kept elsewhere")
    if checked.rolled_back:
        ERR.print("! this is a rollback: events were signed that are not in it; docs/operations.md says what follows")
    if home is not None and checked.manifest.keys == "none":
        OUT.print("\nThe keys are not in it: put those of the old home into keys/ before it is started.")


def _facts(manifest: Manifest) -> dict[str, Any]:
    return {
        "created": manifest.created,
        "version": manifest.version,
        "files": len(manifest.files),
        "bytes": manifest.size_bytes,
        "skipped": manifest.skipped,
        "keys": manifest.keys,
        "log": {"origin": manifest.log.origin, "size": manifest.log.size, "key": manifest.log.key},
    }


def _told(manifest: Manifest) -> dict[str, object]:
    return {
        "taken": manifest.created,
        "log": f"{counted(manifest.log.size, 'event')} of {manifest.log.origin}",
        "files": f"{len(manifest.files)}, {manifest.size_bytes:,} bytes",
        "keys": {"none": "left out", "sealed": "sealed", "clear": "in the clear"}[manifest.keys],
    }
