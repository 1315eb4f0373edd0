"""Inputs for the commands: a document from a file, or the one that a gateway would make of a mission; and schemas."""

from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer

from engine.clock import SystemClock
from engine.errors import EngineError, Violation
from gateway.cli.options import OutputOption, read_document
from gateway.cli.output import (
    ERR,
    OUT,
    Exit,
    Output,
    fail,
    fail_with,
    print_errors,
    print_json,
    terminal_safe,
    violation_document,
)
from gateway.cli.policy.bundles import BundleHomeOption
from gateway.config import Config, load_config
from gateway.errors import ConfigurationError
from gateway.identity import Principal
from gateway.policy.authoring.documents import check_document, entrypoint_of, parse_document
from gateway.policy.document import mission_document
from gateway.policy.engine import ENTRYPOINTS, Entrypoint
from gateway.rules import bundled_policies, local_admission

SCHEMAS: Final = (*ENTRYPOINTS, "decision")

InputOption = Annotated[
    str | None, typer.Option("--input", "-i", help="The input document, JSON; - reads standard input.", metavar="FILE")
]
MissionOption = Annotated[
    str | None,
    typer.Option("--mission", "-m", help="Ask about this mission file instead: its plan is the input.", metavar="FILE"),
]
RoleOption = Annotated[
    list[str] | None, typer.Option("--role", help="Role to ask as, with a mission; may be repeated.")
]
UncheckedOption = Annotated[
    bool, typer.Option("--unchecked", help="Take the input as it is, whatever its schema says.")
]


def schema(
    name: Annotated[str | None, typer.Argument(help=f"One of {', '.join(SCHEMAS)}.", metavar="NAME")] = None,
    *,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print the JSON Schema of an input document, or of a decision; without NAME, list them."""
    if name is None:
        titles = {each: str(schema_of(each).get("title", "")) for each in SCHEMAS}
        if output is Output.JSON:
            print_json({"schemas": titles})
            return
        for each, title in titles.items():
            OUT.print(f"{each:<10}{title}")
        return
    if name not in SCHEMAS:
        error = ConfigurationError(f"there is no schema {name!r}; there are {', '.join(SCHEMAS)}", code="policy.schema")
        fail(error, output)
    if output is Output.JSON:
        print_json(schema_of(name))
        return
    OUT.print(json_text(schema_of(name)))


def input_document(
    what: Annotated[str, typer.Argument(help="mission", metavar="mission")],
    document: Annotated[str, typer.Argument(help="A YAML or JSON mission; - reads standard input.", metavar="FILE")],
    *,
    role: RoleOption = None,
    home: BundleHomeOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print the input document that a gateway would make of a mission, for you to change and to evaluate."""
    if what != "mission":
        fail(ConfigurationError(f"inputs are made of a mission, not of {what!r}", code="policy.input"), output)
    value = mission_input(document, role or (), home, output)
    if output is Output.JSON:
        print_json(value)
        return
    OUT.print(json_text(value))


def given_input(
    entrypoint: Entrypoint | None,
    source: str | None,
    mission: str | None,
    roles: list[str],
    home: Path | None,
    output: Output,
    *,
    checked: bool,
) -> bytes | None:
    """Return the input that the options name, None where they name none; leave with code 2 where it is not in order."""
    if (source is None) == (mission is None):
        if source is None and entrypoint is None:
            return None
        fail(ConfigurationError("name an input: --input FILE or --mission FILE", code="policy.input"), output)
    if mission is not None:
        if entrypoint not in {"mission", None}:
            message = (
                f"a mission makes the input of `mission`, not of `{entrypoint}`: write that one, or take it from a log"
            )
            fail(ConfigurationError(message, code="policy.input"), output)
        return orjson.dumps(mission_input(mission, roles, home, output))
    raw = read_document(str(source), output)
    value = parse_document(raw)
    if isinstance(value, Violation):
        fail_with([violation_document(value)], Exit.USAGE, output, source=str(source))
    shape = entrypoint or entrypoint_of(value)
    wrong = check_document(value, schema_of(shape)) if checked and shape is not None else ()
    if wrong and output is Output.TEXT:
        print_errors([violation_document(each) for each in wrong], str(source))
        ERR.print(f"  → missiongate policy schema {shape} prints its shape; --unchecked takes it as it is", style="dim")
        raise typer.Exit(Exit.USAGE)
    if wrong:
        fail_with([violation_document(each) for each in wrong], Exit.USAGE, output)
    return raw


def mission_input(source: str, roles: list[str] | tuple[()], home: Path | None, output: Output) -> Any:
    """Return the input document of a mission file; leave with the exit code of what is wrong with it."""
    raw = read_document(source, output)
    caller = Principal(subject="local", tenant="default", roles=tuple(roles) or ("submitter",))
    try:
        admission = local_admission(home, Config() if home is None else load_config(home))
        clean = admission.sanitize(raw)
    except EngineError as error:
        fail(error, output, source=source)
    asked = mission_document(caller, clean.plan, clean.digest, clean.taint, clean.level.name, now=SystemClock().now())
    return orjson.loads(asked)


def schema_of(name: str) -> dict[str, Any]:
    """Return the published schema of a document."""
    value: dict[str, Any] = orjson.loads((bundled_policies() / "schemas" / f"{name}.json").read_bytes())
    return value


def json_text(value: object) -> str:
    """Return JSON over several lines, for a terminal."""
    return terminal_safe(orjson.dumps(value, option=orjson.OPT_INDENT_2)).decode()
