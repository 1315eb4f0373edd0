"""hook sign, push, list, enable, disable, rollback: from a folder to what is in force in a gateway."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from engine.errors import EngineError
from gateway.cli.options import Connection, OutputOption, PassphraseFileOption, asked_for, calling, connected
from gateway.cli.output import OUT, Output, fail, print_facts, print_json, said, styled
from gateway.client import Client
from gateway.errors import ConfigurationError, HookRefusedError, NotFoundError
from gateway.sandbox.files import SIGNATURE_NAME, HookFiles, read_files
from gateway.sandbox.manifest import parse_manifest
from gateway.sandbox.signature import sign_hook
from gateway.signing.passphrase import open_key

_ANYWHERE: Final[Mapping[str, Any]] = {"order": 0, "step_types": (), "labels": {}}

FolderArgument = Annotated[
    Path, typer.Argument(help="Holds hook.toml, module.wasm and the schema.", metavar="FOLDER", show_default=False)
]
VersionArgument = Annotated[
    str, typer.Argument(help="A hook, or one version of it.", metavar="NAME[@VERSION]", show_default=False)
]
OrderOption = Annotated[int | None, typer.Option("--order", help="Lower runs first; of other kinds than steps.")]
StepTypeOption = Annotated[
    list[str] | None,
    typer.Option("--step-type", help="Only for this step type; repeatable; of other kinds than steps."),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option("--label", help="Only for missions with this label, NAME=VALUE; repeatable; likewise."),
]


def sign(
    folder: FolderArgument,
    *,
    key: Annotated[Path, typer.Option(help="The signing key, as `missiongate keys new` wrote it.")],
    passphrase_file: PassphraseFileOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Sign a hook: name, version and SHA-256 of each file, into hook.sig; a signature that is there is replaced."""
    try:
        signer = open_key(key, asked_for(passphrase_file))
        files = read_files(folder)
        manifest = parse_manifest(files.manifest)
        _replace(folder / SIGNATURE_NAME, sign_hook(files, signer))
    except EngineError as error:
        fail(error, output)
    facts = {
        "name": manifest.name,
        "version": manifest.version,
        "publisher": signer.name,
        "signature": str(folder / SIGNATURE_NAME),
        "verifier_key": signer.verifier_key(),
    }
    if output is Output.JSON:
        print_json(facts)
        return
    _done(f"{manifest.name} {manifest.version} is signed by {signer.name}")
    print_facts({"signature": facts["signature"], "verifier key": facts["verifier_key"]})


@connected
def push(
    folder: FolderArgument,
    *,
    enabled: Annotated[bool, typer.Option("--enable", help="Put it in force as well.")] = False,
    order: OrderOption = None,
    step_type: StepTypeOption = None,
    label: LabelOption = None,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Publish a signed hook; the same once more changes nothing."""
    placement = _placement(order, step_type, label, output)
    if placement != _ANYWHERE and not enabled:
        message = "--order, --step-type and --label say where it is in force: they need --enable"
        fail(ConfigurationError(message, code="hook.not_to_be_enabled"), output)
    files = _read(folder, output)
    with calling(gateway, output) as client:
        published = client.hooks.publish(
            files.manifest, files.module, schema=files.schema, signature=files.signature or b""
        )
        answer = published.document()
        if enabled:
            hook = client.hooks.enable(published.hook.name, published.hook.version, **placement)
            answer["hook"] = hook.document()
    if output is Output.JSON:
        print_json(answer)
        return
    hook = answer["hook"]
    _done(f"{hook['name']} {hook['version']} {'is' if answer['created'] else 'was'} published")
    if enabled:
        _done(f"{hook['name']} {hook['version']} is in force")
    print_facts({"kind": hook["kind"], "publisher": hook["publisher"], "sha256": hook["sha256"]})
    if not hook["enabled"]:
        OUT.print("\nNext:")
        OUT.print(said(f"  missiongate hook enable {hook['name']}@{hook['version']}"))


@connected
def list_hooks(
    *,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """List all versions of all hooks, the newest of a name first."""
    with calling(gateway, output) as client:
        hooks = [hook.document() for hook in client.hooks.all_hooks()]
    if output is Output.JSON:
        print_json({"hooks": hooks})
    else:
        OUT.print(_table(hooks))


@connected
def enable(
    hook: VersionArgument,
    *,
    order: OrderOption = None,
    step_type: StepTypeOption = None,
    label: LabelOption = None,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Put a version in force, in the place of the one that is; without a version, the newest."""
    placement = _placement(order, step_type, label, output)
    name, version = _split(hook)
    with calling(gateway, output) as client:
        enabled = client.hooks.enable(name, version or _newest(client, name), **placement).document()
    if output is Output.JSON:
        print_json(enabled)
        return
    _done(f"{enabled['name']} {enabled['version']} is in force")
    if enabled["placement"]:
        print_facts({"runs": _place(enabled["placement"])})


@connected
def disable(
    hook: VersionArgument,
    *,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Take a hook out of force; with a version, only if that one is. Its steps that have begun go on."""
    name, version = _split(hook)
    with calling(gateway, output) as client:
        client.hooks.disable(name, version)
    if output is Output.JSON:
        print_json({"name": name, "enabled": False})
    else:
        _done(f"{name} is not in force any more")


@connected
def rollback(
    hook: VersionArgument,
    *,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Take back the last change of a hook; with a version, only if that one is in force."""
    name, version = _split(hook)
    with calling(gateway, output) as client:
        now = client.hooks.rollback(name, version)
    if output is Output.JSON:
        print_json({"name": name, "hook": None if now is None else now.document()})
    elif now is None:
        _done(f"{name} is not in force any more, as before")
    else:
        _done(f"{name} {now.version} is in force again")


def _read(folder: Path, output: Output) -> HookFiles:
    try:
        files = read_files(folder)
        if files.signature is None:
            message = f"{folder} has no {SIGNATURE_NAME}: what is published is signed"
            raise HookRefusedError(message, code="hook.unsigned", field=SIGNATURE_NAME)
    except EngineError as error:
        fail(error, output)
    return files


def _replace(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all."""
    draft = path.with_name(f"{path.name}.tmp")
    try:
        draft.write_bytes(data)
        os.replace(draft, path)  # noqa: PTH105 - of two paths
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written ({error.strerror})", code="hook.unwritable") from error


def _placement(
    order: int | None, step_types: Sequence[str] | None, labels: Sequence[str] | None, output: Output
) -> dict[str, Any]:
    pairs = [label.partition("=") for label in labels or ()]
    if any(not name or not sign for name, sign, _ in pairs):
        fail(ConfigurationError("--label is NAME=VALUE", code="hook.label"), output)
    return {
        "order": order or 0,
        "step_types": tuple(step_types or ()),
        "labels": {name: value for name, _, value in pairs},
    }


def _split(hook: str) -> tuple[str, str]:
    name, _, version = hook.partition("@")
    return name, version


def _newest(client: Client, name: str) -> str:
    for hook in client.hooks.all_hooks():
        if hook.name == name:
            return hook.version
    raise NotFoundError(f"there is no hook {name}", code="hook.not_found")


def _done(text: str) -> None:
    OUT.print(Text.assemble(("✓ ", "green"), said(text)))


def _place(placement: Mapping[str, Any]) -> str:
    """Return where a hook runs, in a few words."""
    parts = [f"as number {placement['order']}"]
    if placement["step_types"]:
        parts.append(f"for {', '.join(placement['step_types'])}")
    if placement["labels"]:
        parts.append("with " + ", ".join(f"{name}={value}" for name, value in sorted(placement["labels"].items())))
    return ", ".join(parts)


def _table(hooks: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("hook", "version", "kind"):
        table.add_column(name, no_wrap=True)
    table.add_column("publisher", overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("runs", overflow="fold")
    for hook in hooks:
        runs = _place(hook["placement"]) if hook["placement"] else ""
        state = styled("enabled" if hook["enabled"] else "published")
        cells = [said(hook[name]) for name in ("name", "version", "kind", "publisher")]
        table.add_row(*cells, state, said(runs, "dim"))
    return table
