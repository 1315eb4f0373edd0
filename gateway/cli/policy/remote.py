"""policy push, list, status, activate, rollback, follow: bundles of a running gateway."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from gateway.cli.options import Connection, OutputOption, calling, connected
from gateway.cli.output import OUT, Output, print_facts, print_json, said
from gateway.cli.policy.bundles import made
from gateway.policy.bundle_files import read_archive_file, read_folder, write_archive

NameArgument = Annotated[
    str,
    typer.Argument(
        help="A digest, the beginning of one (6 digits or more), or a revision.", metavar="BUNDLE", show_default=False
    ),
]


@connected
def push(
    bundle: Annotated[
        Path, typer.Argument(help="The bundle: a folder or a .tar.gz.", metavar="BUNDLE", show_default=False)
    ],
    *,
    activated: Annotated[bool, typer.Option("--activate", help="Put it in force as well.")] = False,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Publish a bundle; the same once more changes nothing."""
    archive = made(output, lambda: _archive(bundle))
    with calling(gateway, output) as client:
        published = client.policy.publish(archive)
        answer = published.document()
        if activated:
            answer["bundle"] = client.policy.activate(published.bundle.digest).document()
    if output is Output.JSON:
        print_json(answer)
        return
    pushed = answer["bundle"]
    _done(f"{_name(pushed)} {'is' if answer['created'] else 'was'} published")
    if activated:
        _done(f"{_name(pushed)} is in force")
    print_facts(_facts(pushed))
    if not pushed["active"]:
        OUT.print("\nNext:")
        short = pushed["digest"].removeprefix("sha256:")[:12]
        OUT.print(said(f"  missiongate policy replay {bundle}    # what it would decide otherwise"))
        OUT.print(said(f"  missiongate policy activate {short}"))


@connected
def list_bundles(
    *,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """List the bundles that a gateway keeps, the newest first."""
    with calling(gateway, output) as client:
        bundles = [bundle.document() for bundle in client.policy.bundles()]
    if output is Output.JSON:
        print_json({"bundles": bundles})
    else:
        OUT.print(_table(bundles))


@connected
def status(
    *,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Say which bundle is in force, where it comes from, and what a shadow bundle would decide otherwise."""
    with calling(gateway, output) as client:
        found = client.policy.status().document()
    if output is Output.JSON:
        print_json(found)
        return
    active, source = found["active"], found["source"]
    OUT.print(Text.assemble(("● ", "green"), said(f"{_name(active)} is in force")))
    print_facts(
        {
            **_facts(active),
            "engine": found["engine"],
            "mode": found["mode"],
            "source": source["location"] + (", which changes nothing: a person has chosen" if found["pinned"] else ""),
            "confirmed": source["confirmed_at"] or "never",
            "from memory": f"{found['cache']['hits']:,} of {sum(found['cache'].values()):,} answers",
        }
    )
    if source["stale"]:
        OUT.print(Text.assemble(("! ", "yellow"), "the source has not been heard of for too long"))
    if source["failure"] is not None:
        failure = source["failure"]
        OUT.print(Text.assemble(("! ", "yellow"), said(f"{failure['code']}  {failure['message']}")))
    if found["shadow"] is not None:
        _print_shadow(found["shadow"])


@connected
def activate(
    bundle: NameArgument,
    *,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Put a kept bundle in force; the gateway's source changes nothing then, until `policy follow`."""
    with calling(gateway, output) as client:
        _print_in_force(client.policy.activate(bundle).document(), output)


@connected
def rollback(
    *,
    only: Annotated[str, typer.Option("--from", help="Only where this digest is in force.", metavar="DIGEST")] = "",
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Put in force what was so before."""
    with calling(gateway, output) as client:
        _print_in_force(client.policy.rollback(only).document(), output)


@connected
def follow(
    *,
    allow_older: Annotated[
        bool, typer.Option("--allow-older", help="Also where the source is behind what was in force.")
    ] = False,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Let the gateway's source decide again which bundle is in force."""
    with calling(gateway, output) as client:
        _print_in_force(client.policy.follow_source(allow_older=allow_older).document(), output)


def _archive(bundle: Path) -> bytes:
    """Return the archive to publish: as it lies there, or made of a folder with what is in it."""
    return write_archive(read_folder(bundle)) if bundle.is_dir() else read_archive_file(bundle)


def _print_in_force(bundle: Mapping[str, Any], output: Output) -> None:
    if output is Output.JSON:
        print_json(bundle)
        return
    _done(f"{_name(bundle)} is in force")
    print_facts(_facts(bundle))


def _print_shadow(shadow: Mapping[str, Any]) -> None:
    OUT.print()
    OUT.print(said(f"Beside it, deciding nothing: {shadow['digest']}"))
    OUT.print(
        said(
            f"  compared {shadow['compared']:,}, disagreed {shadow['disagreed']:,}, missed {shadow['missed']:,}",
            "dim" if not shadow["disagreed"] else "yellow",
        )
    )
    for each in shadow["latest"][:10]:
        one, other = ("allowed" if each[name]["allow"] else "denied" for name in ("decided", "shadow"))
        codes = ", ".join(sorted({reason["code"] for reason in each["shadow"]["reasons"]}))
        OUT.print(said(f"  {each['at']}  {each['entrypoint']:<7}  {one} here, {other} there  {codes}"))


def _name(bundle: Mapping[str, Any]) -> str:
    short = bundle["digest"].removeprefix("sha256:")[:12]
    return f"{bundle['revision']} ({short})" if bundle["revision"] else short


def _facts(bundle: Mapping[str, Any]) -> dict[str, object]:
    facts = {"digest": bundle["digest"], "from": _origin(bundle), "kept": bundle["kept_at"]}
    if bundle["signed_by"]:
        facts["signed by"] = bundle["signed_by"]
    if bundle["sequence"] is not None:
        facts["sequence"] = bundle["sequence"]
    return facts


def _table(bundles: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("digest", no_wrap=True)
    table.add_column("revision", overflow="fold")
    table.add_column("from", overflow="fold")
    table.add_column("kept", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for each in bundles:
        number = "" if each["sequence"] is None else f" #{each['sequence']}"
        signed = f", signed by {each['signed_by']}" if each["signed_by"] else ""
        state = "in force" if each["active"] else "before" if each["previous"] else ""
        table.add_row(
            said(each["digest"].removeprefix("sha256:")[:12]),
            said(each["revision"] + number),
            said(_origin(each) + signed),
            said(each["kept_at"][:16].replace("T", " ")),
            said(state, "green" if each["active"] else "dim"),
        )
    return table


def _origin(bundle: Mapping[str, Any]) -> str:
    """Return where a bundle came from, in a few words."""
    return f"published by {bundle['by']}" if bundle["origin"] == "published" else "the source"


def _done(text: str) -> None:
    OUT.print(Text.assemble(("✓ ", "green"), said(text)))
