"""Manifests of the four kinds: what each must say, and must not."""

import pytest

from gateway.errors import HookRefusedError
from gateway.sandbox.manifest import PLACES, parse_manifest

HEAD = 'name = "x"\nversion = "1.0.0"\nabi = 1\nprofile = "fast"\n'


def refusal(text: str) -> tuple[str, str]:
    with pytest.raises(HookRefusedError) as caught:
        parse_manifest((HEAD + text).encode())
    return caught.value.code, caught.value.field


@pytest.mark.parametrize(("kind", "at"), [(kind, at) for kind, places in PLACES.items() for at in places])
def test_each_kind_runs_at_its_places(kind: str, at: str) -> None:
    """It says where, has neither schema nor effects, and may say of the latter that there are none."""
    for rest in ("", "effects = []\n"):
        parsed = parse_manifest(f'{HEAD}kind = "{kind}"\nat = "{at}"\n{rest}'.encode())
        assert (parsed.kind, parsed.at, parsed.schema, parsed.effects) == (kind, at, None, ())


@pytest.mark.parametrize(
    ("kind", "at"), [("screen", "output"), ("rewrite", "mission"), ("observe", "parameters"), ("observe", "nowhere")]
)
def test_no_kind_runs_at_anothers_place(kind: str, at: str) -> None:
    """A rewrite of missions, say, would change what a client has signed for."""
    assert refusal(f'kind = "{kind}"\nat = "{at}"\n') == ("hook.bad_value", "at")


@pytest.mark.parametrize("kind", PLACES)
def test_what_only_steps_have_is_refused_elsewhere(kind: str) -> None:
    """A screen that declares an effect was meant to be something else."""
    start = f'kind = "{kind}"\nat = "{PLACES[kind][0]}"\n'
    assert refusal(f'kind = "{kind}"\n') == ("hook.missing_field", "at")
    assert refusal(start + 'schema = "s.json"\n') == ("hook.bad_value", "schema")
    assert refusal(start + 'effects = ["file.read"]\n') == ("hook.bad_value", "effects")


def test_a_step_has_no_place() -> None:
    """Its missions say where it runs."""
    assert refusal('kind = "step"\neffects = []\nschema = "s.json"\nat = "step"\n') == ("hook.bad_value", "at")


def test_a_name_of_thousands_of_parts_is_refused_unread() -> None:
    """The parser of TOML takes seconds for it, and a gateway answers nobody else meanwhile."""
    code, _ = refusal("a." * 513 + "a = 1\n")
    assert code == "hook.manifest_syntax"
