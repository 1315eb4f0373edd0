"""approvals, approve: what steps and policy ask people, and the answer."""

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NoReturn

import typer
from rich.text import Text

from gateway.cli.options import Connection, MissionArgument, OutputOption, calling, connected
from gateway.cli.output import OUT, Exit, Output, fail, print_facts, print_json, said, styled
from gateway.errors import ConfigurationError, ConflictError, NotFoundError


@connected
def approvals(
    mission_id: Annotated[
        str, typer.Argument(help="Only those of this mission.", metavar="[MISSION]", show_default=False)
    ] = "",
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are decided or over.")] = False,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """List what waits for a decision, oldest first."""
    with calling(gateway, output, mission=mission_id) as client:
        page = client.list_approvals(mission_id, pending_only=not everything).document()
    if output is Output.JSON:
        print_json(page)
        return
    if not page["approvals"]:
        OUT.print("no approvals" if everything else "nothing waits for a decision")
    for approval in page["approvals"]:
        _print(approval)
    if page["omitted"]:
        OUT.print(f"and {page['omitted']} younger ones; name a mission to see its own", style="dim")


@connected
def approve(
    mission_id: MissionArgument,
    approval_id: Annotated[
        str,
        typer.Argument(help="Which, where the mission waits for several.", metavar="[APPROVAL]", show_default=False),
    ] = "",
    *,
    deny: Annotated[bool, typer.Option("--deny", help="Say no: the step fails, or does not begin.")] = False,
    comment: Annotated[str, typer.Option(help="Is recorded, and told to the step.")] = "",
    digest: Annotated[
        str, typer.Option(help="What was looked at: anything else is not decided.", metavar="DIGEST")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether this is meant.")] = False,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Decide what a step or policy asks, after showing it; a decision cannot be taken back."""
    with calling(gateway, output, mission=mission_id) as client:
        page = client.list_approvals(mission_id).document()
        approval = _chosen(page["approvals"], mission_id, approval_id, output)
        if digest and digest != approval["digest"]:
            message = f"it is about something else by now: {approval['digest']}"
            fail(ConflictError(message, code="approval.digest_mismatch"), output, mission=mission_id)
        if output is Output.TEXT:
            _show(approval)
        if not yes:
            _confirm(deny=deny, output=output)
        decided = client.decide_approval(
            mission_id, approval["approval_id"], approve=not deny, digest=approval["digest"], comment=comment
        ).document()
    if output is Output.JSON:
        print_json(decided)
    else:
        OUT.print(Text.assemble(styled(decided["state"]), said(f" by {decided['decided_by']}")))


def _chosen(
    pending: Sequence[Mapping[str, Any]], mission_id: str, approval_id: str, output: Output
) -> Mapping[str, Any]:
    """Return the approval that is meant; leave with code 2 where that cannot be told."""
    found = [each for each in pending if approval_id in {"", each["approval_id"]}]
    if not found and approval_id:
        message = f"the mission does not wait for an approval {approval_id!r}"
        fail(NotFoundError(message, code="approval.not_found"), output, mission=mission_id)
    if not found:
        message = f"the mission waits for no approval; missiongate get {mission_id} shows it"
        fail(NotFoundError(message, code="approval.none_pending"), output)
    if len(found) > 1:
        message = f"the mission waits for {len(found)} approvals; missiongate approvals {mission_id} lists them"
        fail(ConfigurationError(message, code="approval.ambiguous"), output)
    return found[0]


def _confirm(*, deny: bool, output: Output) -> None:
    """Ask whether the decision is meant; leave where it is not, or where there is nobody to ask."""
    if output is Output.JSON or not sys.stdin.isatty():
        message = "nobody can be asked here whether this is meant; --yes says that it is"
        fail(ConfigurationError(message, code="approval.unconfirmed"), output)
    if not typer.confirm("Deny it?" if deny else "Approve it?"):
        _undecided()


def _undecided() -> NoReturn:
    OUT.print("nothing was decided")
    raise typer.Exit(Exit.FAILED)


def _show(approval: Mapping[str, Any]) -> None:
    """Print what is to be decided. The message is a stranger's: each line of it is marked as one."""
    for line in approval["message"].split("\n"):
        OUT.print(Text.assemble(("│ ", "yellow"), said(line, "bold")))
    print_facts(_facts(approval))


def _print(approval: Mapping[str, Any]) -> None:
    """Print one approval of a list, with the command that decides it."""
    title = Text.assemble(styled(approval["state"]), "  ", said(" ".join(approval["message"].split()), "bold"))
    title.truncate(OUT.width, overflow="ellipsis")
    OUT.print(title)
    if approval["state"] == "pending":
        until = f"until {approval['expires_at'][:16].replace('T', ' ')} by a role of {', '.join(approval['approvers'])}"
        OUT.print(said(f"  {_subject(approval)}, {until}", "dim"))
        OUT.print(said(f"  missiongate approve {approval['mission_id']} {approval['approval_id']}"))
        return
    by = f" by {approval['decided_by']}" if approval["decided_by"] else ""
    comment = f": {approval['comment']}" if approval["comment"] else ""
    of = f" of {approval['mission_id']}" if approval["step_id"] else f" {approval['mission_id']}"
    OUT.print(said(f"  {_subject(approval)}{of}{by}{comment}", "dim"))


def _facts(approval: Mapping[str, Any]) -> dict[str, object]:
    about = {"step": _step(approval)} if approval["step_id"] else {}
    asks = {"asks": f"policy, about the {approval['entrypoint']}"} if approval["entrypoint"] else {}
    return {
        **about,
        **asks,
        "mission": approval["mission_id"],
        "approval": approval["approval_id"],
        "digest": approval["digest"],
        "asked": approval["requested_at"],
        "expires": approval["expires_at"],
        "roles": ", ".join(approval["approvers"]),
    }


def _subject(approval: Mapping[str, Any]) -> str:
    """Return what the approval is about, and that policy asks where no step does."""
    subject = f"step {_step(approval)}" if approval["step_id"] else "mission"
    return f"policy, {subject}" if approval["entrypoint"] else subject


def _step(approval: Mapping[str, Any]) -> str:
    item = "" if approval["item"] is None else f", item {approval['item']}"
    return f"{approval['step_id']}{item}"
