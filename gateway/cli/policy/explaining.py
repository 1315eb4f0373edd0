"""policy explain: why an input is refused, and what would have been allowed instead."""

import asyncio
from typing import Any

import typer

from gateway.cli.options import OutputOption
from gateway.cli.output import Exit, Output, fail, print_json
from gateway.cli.policy.bundles import BundleHomeOption, BundleOption, bundle_path, load_bundle, made, quiet_workers
from gateway.cli.policy.evaluate import EntrypointArgument, rule_and_entrypoint
from gateway.cli.policy.explaining_view import print_explanation
from gateway.cli.policy.inputs import InputOption, MissionOption, RoleOption, UncheckedOption, given_input
from gateway.errors import ConfigurationError
from gateway.policy.authoring.laboratory import laboratory
from gateway.policy.bundle import Bundle
from gateway.policy.engine import Entrypoint


def explain(
    entrypoint: EntrypointArgument,
    *,
    bundle: BundleOption = None,
    source: InputOption = None,
    mission: MissionOption = None,
    role: RoleOption = None,
    home: BundleHomeOption = None,
    unchecked: UncheckedOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Tell why an input is refused, rule by rule, and what would be allowed: exit 0 where it is allowed, else 3."""
    _, asked = rule_and_entrypoint(entrypoint, output)
    if asked is None:
        message = f"decisions are explained, of rpc, mission, step and effect; {entrypoint} is none"
        fail(ConfigurationError(message, code="policy.entrypoint"), output)
    document = given_input(asked, source, mission, role or [], home, output, checked=not unchecked) or b"null"
    policy = made(output, lambda: load_bundle(bundle_path(bundle, home)))
    told = made(output, lambda: asyncio.run(_explain(policy, asked, document)))
    if output is Output.JSON:
        print_json(told)
    else:
        print_explanation(told)
    if not told["decision"]["allow"]:
        raise typer.Exit(Exit.REFUSED)


async def _explain(bundle: Bundle, entrypoint: Entrypoint, document: bytes) -> dict[str, Any]:
    quiet_workers()
    async with laboratory(bundle.modules, bundle.document) as running:
        return await running.explain(bundle.digest, entrypoint, document)
