"""The `missiongate` command: one typer application, one module a group of commands."""

from importlib import metadata
from typing import Annotated

import typer

from gateway.cli import (
    approvals,
    audit,
    audit_export,
    audit_index,
    audit_ocsf,
    audit_prove,
    audit_replay,
    audit_show,
    control,
    demo,
    erase,
    home,
    keys,
    missions,
    payload_keys,
    plan,
    sanitize,
    secret,
    subjects,
)
from gateway.cli.hook import app as hook_app
from gateway.cli.policy import app as policy_app

app = typer.Typer(
    name="missiongate",
    help="A security gateway for automated work.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"missiongate {metadata.version('missiongate')}")
        raise typer.Exit


@app.callback()
def main(
    *,
    _version_wanted: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_version),
    ] = False,
) -> None:
    """A security gateway for automated work."""


app.command("demo")(demo.demo)
app.command("init")(home.init)
app.command("serve")(home.serve)
app.command("plan")(plan.plan)
app.command("submit")(missions.submit)
app.command("get")(missions.get)
app.command("list")(missions.list_missions)
app.command("watch")(missions.watch)
app.command("cancel")(control.cancel)
app.command("pause")(control.pause)
app.command("resume")(control.resume)
app.command("retry")(control.retry)
app.command("approvals")(approvals.approvals)
app.command("approve")(approvals.approve)
app.command("sanitize")(sanitize.sanitize)
audit.app.command("show")(audit_show.show)
audit.app.command("prove")(audit_prove.prove)
audit.app.command("checkpoint")(audit_prove.checkpoint)
audit.app.command("export")(audit_export.export)
audit.app.command("replay")(audit_replay.replay)
audit.app.command("ocsf")(audit_ocsf.ocsf)
audit.app.add_typer(audit_index.app, name="index")
app.add_typer(audit.app, name="audit")
erase.app.command("subject")(subjects.erase_subject)
app.add_typer(erase.app, name="erase")
app.add_typer(hook_app.app, name="hook")
keys.app.command("rotate-payloads")(payload_keys.rotate_payloads)
app.add_typer(keys.app, name="keys")
app.add_typer(policy_app.app, name="policy")
app.add_typer(secret.app, name="secret")
app.add_typer(subjects.app, name="subjects")
