"""policy push, list, status, activate, rollback and follow, against a real server in front of a fake desk."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.bundles.entry import SourceFailure
from gateway.errors import ConflictError, PolicyInvalidError
from gateway.events import digest
from gateway.policy.bundle_files import read_archive, read_folder
from gateway.policy.decision import Decision
from gateway.policy.shadow import Disagreement, ShadowCounts
from gateway.policy_views import ShadowView
from tests.cli_runner import run
from tests.fakes import DECISION, MOMENT, FakeDesk, FakePolicyDesk
from tests.rpc_server import served_aside

POLICIES = Path(__file__).parents[4] / "policies"
KEYS = {"digest", "revision", "sequence", "origin", "by", "signed_by", "kept_at", "active", "previous"}


@pytest.fixture
def policy() -> FakePolicyDesk:
    return FakePolicyDesk()


@pytest.fixture
def env(policy: FakePolicyDesk) -> Iterator[dict[str, str]]:
    with served_aside(FakeDesk(), policy=policy) as address:
        yield {"MISSIONGATE_SERVER": address, "MISSIONGATE_TOKEN": "ann-token"}


def test_a_folder_is_pushed_with_all_its_files(policy: FakePolicyDesk, env: dict[str, str]) -> None:
    """Tests and schemas too: the gateway keeps what its authors wrote."""
    done = run("policy", "push", POLICIES, env=env)
    assert (done.code, done.err) == (0, "")
    [(name, subject, archive)] = policy.calls
    assert (name, subject) == ("publish", "ann")
    assert isinstance(archive, bytes)
    assert read_archive(archive) == read_folder(POLICIES)
    assert "✓ next-2 (bbbbbbbbbbbb) is published" in done.out
    assert "missiongate policy activate bbbbbbbbbbbb" in done.out


def test_push_may_put_in_force_as_well(policy: FakePolicyDesk, env: dict[str, str], tmp_path: Path) -> None:
    """An archive goes as it is."""
    (tmp_path / "b.tar.gz").write_bytes(b"bytes")
    policy.created = False
    done = run("policy", "push", tmp_path / "b.tar.gz", "--activate", env=env)
    assert policy.calls == [("publish", "ann", b"bytes"), ("activate", "ann", "sha256:" + "b" * 64)]
    assert "was published" in done.out
    assert "✓ next-2 (bbbbbbbbbbbb) is in force" in done.out


def test_push_in_json(env: dict[str, str]) -> None:
    """For programs."""
    answer = run("policy", "push", POLICIES, "-o", "json", env=env).json
    assert (answer["created"], answer["bundle"].keys()) == (True, KEYS)


def test_a_bundle_that_is_refused_is_told_with_its_place(policy: FakePolicyDesk, env: dict[str, str]) -> None:
    """File and line come over the wire."""
    policy.error = PolicyInvalidError("no such builtin", code="policy.builtin", file="a.rego", line=7)
    done = run("policy", "push", POLICIES, "-o", "json", env=env)
    assert done.code == 3
    [error] = done.json["errors"]
    assert error["code"] == "policy.builtin"
    assert "no such builtin" in error["message"]


def test_what_cannot_be_read_is_said(env: dict[str, str], tmp_path: Path) -> None:
    """Nothing is sent."""
    done = run("policy", "push", tmp_path / "none.tar.gz", "-o", "json", env=env)
    assert done.code != 0
    assert done.json["errors"][0]["code"].startswith("policy.")


def test_the_list_says_which_is_in_force(env: dict[str, str]) -> None:
    """One line each, by the beginning of its digest, with what a rollback would put in force."""
    lines = run("policy", "list", env=env, width=120).out.splitlines()
    assert [line.split()[0] for line in lines] == ["digest", "bbbbbbbbbbbb", "cccccccccccc"]
    assert "next-2 #7" in lines[1]
    assert "published by default/ann, signed by k1" in lines[1]
    assert lines[1].rstrip().endswith("before")
    assert lines[2].rstrip().endswith("in force")
    assert {*run("policy", "list", "-o", "json", env=env).json["bundles"][1]} == KEYS


def test_the_status_names_source_failure_and_shadow(policy: FakePolicyDesk, env: dict[str, str]) -> None:
    """What an operator has to know is on the screen."""
    policy.failure = SourceFailure(code="policy.source_unavailable", message="no answer", at=MOMENT)
    no = Decision(allow=False, bundle="sha256:s")
    found = Disagreement(entrypoint="step", document=digest(b"{}"), decided=DECISION, shadow=no, at=MOMENT)
    counts = ShadowCounts(bundle="sha256:s", compared=9, disagreed=1, missed=2)
    policy.shadow = ShadowView(counts=counts, latest=(found,))
    done = run("policy", "status", env=env, width=100)
    for text in (
        "● next-2 (bbbbbbbbbbbb) is in force",
        "a person has chosen",
        "has not been heard of for too long",
        "policy.source_unavailable  no answer",
        "compared 9, disagreed 1, missed 2",
        "allowed here, denied there",
        "3 of 7 answers",
    ):
        assert text in done.out, text
    assert (
        run("policy", "status", "-o", "json", env=env).json["source"]["failure"]["code"] == "policy.source_unavailable"
    )


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (("activate", "next-2"), ("activate", "ann", "next-2")),
        (("rollback",), ("rollback", "ann", "")),
        (("rollback", "--from", "sha256:x"), ("rollback", "ann", "sha256:x")),
        (("follow",), ("follow", "ann", False)),
        (("follow", "--allow-older"), ("follow", "ann", True)),
    ],
)
def test_what_is_in_force_changes(
    policy: FakePolicyDesk, env: dict[str, str], arguments: tuple[str, ...], call: tuple[object, ...]
) -> None:
    """Each says what is in force then."""
    done = run("policy", *arguments, env=env)
    assert (done.code, policy.calls) == (0, [call])
    assert "✓ next-2 (bbbbbbbbbbbb) is in force" in done.out
    assert run("policy", *arguments, "-o", "json", env=env).json["active"] is True


def test_a_conflict_is_told(policy: FakePolicyDesk, env: dict[str, str]) -> None:
    """With its code, on standard error."""
    policy.error = ConflictError("no bundle was in force before this one", code="policy.nothing_before")
    done = run("policy", "rollback", env=env)
    assert done.code != 0
    assert "policy.nothing_before" in done.err
