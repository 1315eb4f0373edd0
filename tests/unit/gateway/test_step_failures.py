"""What a step fails with: what a module may say of itself, and what only the gateway says."""

import re
from pathlib import Path
from typing import Final

import pytest

import gateway
from engine.errors import StepError
from gateway.errors import SandboxError
from gateway.sandbox.abi import StepFault
from gateway.step_failures import own_fault

# Where whatever ends a step is raised, beside effects: of those a module passes on what its journal has told it.
_STAGES: Final = (
    *("constrained", "policy", "sandbox", "sanitizer", "store", "vault"),
    *("hookset", "journal", "performing", "pipeline", "screening", "security_levels", "stages"),
)
_SAID: Final = re.compile(r'(?:code=|default_code = |Reason\(\s*|SandboxError\([^"]*)"([a-z_]+)\.[a-z_]+"')
_OF_NO_STEP: Final = {"auth", "backup", "call", "config", "limits", "page_token", "rpc", "stream"}


def _families() -> list[str]:
    root = Path(gateway.__file__).parent
    texts = [
        *(path for stage in _STAGES for path in (root / stage).rglob("*.py")),
        *(path for stage in _STAGES if (path := root / f"{stage}.py").is_file()),
        root / "errors.py",
        *(root.parent / "engine" / "constraints").glob("*.py"),
    ]
    found = {family for path in texts for family in _SAID.findall(path.read_text(encoding="utf-8"))}
    return sorted(found - _OF_NO_STEP - {"effect"})


def test_the_families_are_found() -> None:
    """The scan sees codes of every sort, so that the next test is about something."""
    assert {"constraint", "hook", "policy", "quota", "sandbox", "secret", "security"} <= set(_families())


@pytest.mark.parametrize("family", _families())
def test_no_module_speaks_with_the_host_s_voice(family: str) -> None:
    """Whatever a stage may say of a step, a module that says it of itself has answered nonsense."""
    with pytest.raises(SandboxError) as raised:
        own_fault(StepFault(f"{family}.closed", "m", retryable=False))
    assert raised.value.code == "sandbox.output_invalid"


@pytest.mark.parametrize("family", _families())
def test_the_abi_s_page_names_it(family: str) -> None:
    """An author reads there which words are not a module's to say."""
    page = (Path(gateway.__file__).parent.parent / "wasm-hooks" / "abi.md").read_text(encoding="utf-8")
    [told] = re.findall(r"none of the gateway's own: (.*?);", page)
    assert f"`{family}`" in told


@pytest.mark.parametrize("code", ["effect.http_status", "transform.type", "parameters.invalid", "mine"])
def test_a_module_says_what_is_its_own(code: str) -> None:
    """Its own words, and what the journal told it of an effect, are the step's failure."""
    fault = own_fault(StepFault(code, "m", retryable=True))
    assert isinstance(fault, StepError)
    assert (fault.code, fault.retryable, fault.halts_mission) == (code, True, False)
