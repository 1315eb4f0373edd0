"""subjects lookup, erase subject: who stands behind a pseudonym of the log, and that nobody does any more."""

from typing import Annotated

import typer
from rich.text import Text

from gateway.cli.control import ReasonOption
from gateway.cli.erase import YesOption, require_meant
from gateway.cli.options import Connection, OutputOption, calling, connected
from gateway.cli.output import OUT, Output, counted, print_json, said
from gateway.subjects.subjects import PSEUDONYM

SubjectArgument = Annotated[
    str, typer.Argument(help="Whom; without a tenant, of the caller's.", metavar="[TENANT/]SUBJECT", show_default=False)
]


@connected
def lookup(
    who: Annotated[
        str,
        typer.Argument(help="A pseudonym, or whose is asked for.", metavar="PSEUDONYM|[TENANT/]SUBJECT"),
    ],
    *,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show who a pseudonym is, or which one somebody has; that it was asked for is recorded."""
    with calling(gateway, output) as client:
        by_name = PSEUDONYM.fullmatch(who) is None
        people = client.people
        found = people.look_up_subject(*_named(who)) if by_name else people.look_up_pseudonym(who)
    if output is Output.JSON:
        print_json(found.document())
    else:
        OUT.print(said(f"{found.pseudonym}  {found.tenant}/{found.subject}"))


@connected
def erase_subject(
    who: SubjectArgument,
    *,
    reason: ReasonOption = "",
    yes: YesOption = False,
    gateway: Connection,
    output: OutputOption = Output.TEXT,
) -> None:
    """Erase a person: what they have submitted, what was decided for them, and who they were for the audit log."""
    subject, of = _named(who)
    require_meant(f"everything that {who} has submitted, and who that was for the audit log,", output, yes=yes)
    with calling(gateway, output) as client:
        erased = client.people.erase_subject(subject, of, reason).document()
    if output is Output.JSON:
        print_json(erased)
        return
    OUT.print(Text.assemble(("✓ ", "green"), said(f"{who} is erased; {erased['pseudonym']} is nobody")))
    missions, decisions = counted(erased["missions"], "mission"), counted(erased["decisions"], "recorded decision")
    OUT.print(said(f"  {missions}, {decisions}; the audit log still verifies", "dim"))


def _named(who: str) -> tuple[str, str]:
    """Return subject and tenant; "" is the caller's. A tenant has no slash in its name."""
    tenant, slash, subject = who.partition("/")
    return (subject, tenant) if slash else (who, "")
