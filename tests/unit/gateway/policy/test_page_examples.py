"""What the pages about policy show works as it stands there: rules on the default bundle, tables of a configuration."""

import asyncio
import re
import tomllib
from pathlib import Path
from typing import Final

import orjson
import pytest

from gateway.config import Config
from gateway.policy.bundle import Bundle
from gateway.policy.decision import Decision
from gateway.policy.engine import Entrypoint
from gateway.policy.regorus_engine import RegorusEngine
from gateway.policy.vetting import Module
from gateway.rules import bundled_policies
from tests.policy_documents import effect, step

DOCS: Final = Path(__file__).parents[4] / "docs"
_PLAIN: Final = 'decision := {"allow": allow, "reasons": array.slice([reason | some reason in deny], 0, 50)}\n'


def blocks(page: str, language: str) -> list[str]:
    """Return the blocks of a page that are in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


def decided(modules: list[Module], entrypoint: Entrypoint, document: bytes) -> Decision:
    """Return what the default bundle decides with these modules, each in the place of the one of its path."""
    default = Bundle.load(bundled_policies())
    every = {module.path: module for module in (*default.modules, *modules)}
    manifest = {"revision": "page", "roots": list(default.roots), "rego_version": 1}
    bundle = Bundle.build(manifest=manifest, data=default.document, modules=list(every.values()))
    return asyncio.run(RegorusEngine(bundle).decide(entrypoint, document))


def test_the_rule_of_the_first_page_denies_what_it_says() -> None:
    """Data of the workspace does not leave by a request, and the message names the host."""
    [rule] = blocks("policy.md", "rego")
    asked = orjson.loads(
        effect("http", "http.request", {"method": "GET", "url": "https://a.example/", "host": "a.example"})
    )
    document = orjson.dumps({**asked, "taint": ["workspace"]})
    decision = decided([Module("gateway/effect/exfiltration.rego", rule)], "effect", document)
    told = {reason.code: reason.message for reason in decision.reasons}
    assert told["effect.exfiltration"] == "args.url: data of the workspace may not leave for a.example"


def test_obligations_are_asked_for_as_the_page_shows() -> None:
    """In production a person is asked, and what an http step brings is masked; elsewhere neither."""
    [rules] = blocks("obligations.md", "rego")
    path = "gateway/step/step.rego"
    text = next(module.text for module in Bundle.load(bundled_policies()).modules if module.path == path)
    assert text.count(_PLAIN) == 1
    asked = orjson.loads(step("transform", {}))
    live = orjson.dumps({**asked, "mission": {**asked["mission"], "labels": {"stage": "production"}}})
    modules = [Module(path, text.replace(_PLAIN, rules))]
    plain, held, masked = (decided(modules, "step", each) for each in (step("transform", {}), live, step("http", {})))
    assert (plain.allow, plain.require_approval, plain.redact) == (True, None, ())
    assert held.require_approval is not None
    assert held.require_approval.message == "Step a deploys to production."
    assert masked.redact == ("/output/body/ssn", "/output/rows/*/token")


@pytest.mark.parametrize("page", ["decisions.md", "policy-bundles.md", "policy-engines.md"])
def test_tables_of_a_configuration_are_accepted(page: str) -> None:
    """No key of them is unknown, and no value out of its bounds."""
    assert blocks(page, "toml")
    for block in blocks(page, "toml"):
        Config.model_validate(tomllib.loads(block))
