"""approvals and approve, against a real server in front of a fake desk."""

from collections.abc import Iterator, Mapping

import pytest

from tests.cli_runner import run
from tests.fakes import DIGEST, MOMENT, FakeDesk, approval, view
from tests.rpc_server import served_aside

KEYS = {
    "approval_id", "mission_id", "step_id", "item", "digest", "message", "approvers", "state", "requested_at",
    "expires_at", "decided_at", "decided_by", "comment", "entrypoint", "decided_roles",
}  # fmt: skip


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk(missions={"m-1": view(), "m-2": view("m-2")}, approvals=[approval()])


@pytest.fixture
def env(desk: FakeDesk) -> Iterator[dict[str, str]]:
    with served_aside(desk) as address:
        yield {"MISSIONGATE_SERVER": address, "MISSIONGATE_TOKEN": "ann-token"}


def states(desk: FakeDesk) -> list[str]:
    return [each.state for each in desk.approvals]


class TestList:
    def test_it_is_what_waits_with_the_command_that_decides(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """Message, step, time and roles, and a line to copy."""
        desk.approvals.append(approval("a-2", "m-2", item=3, message="Deploy?"))
        out = run("approvals", env=env).out
        assert "pending  Publish draft.txt?" in out
        assert "step release, until 2026-07-01 13:30 by a role of approver" in out
        assert "  missiongate approve m-1 a-1\n" in out
        assert "step release, item 3" in out
        assert "m-1" not in run("approvals", "m-2", env=env).out

    def test_json_is_the_documented_list(self, env: Mapping[str, str]) -> None:
        """Whole approvals, and how many were left out."""
        page = run("approvals", "-o", "json", env=env).json
        assert page.keys() == {"approvals", "omitted"}
        assert page["approvals"][0].keys() == KEYS
        assert page["approvals"][0]["item"] is None
        assert page["approvals"][0]["decided_at"] is None

    def test_what_is_over_is_listed_on_request(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """With who decided and what they said."""
        desk.approvals = [approval(state="denied", decided_by="bob", decided_at=MOMENT, comment="not yet")]
        assert run("approvals", env=env).out == "nothing waits for a decision\n"
        assert "by bob: not yet" in run("approvals", "--all", env=env, width=200).out
        desk.approvals = []
        assert run("approvals", "--all", env=env).out == "no approvals\n"


class TestDecide:
    def test_the_one_that_waits_need_not_be_named(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """It is shown first: message, step, mission, digest; then decided."""
        done = run("approve", "m-1", "--yes", "--comment", "looks right", env=env)
        assert done.code == 0
        assert done.out.startswith("│ Publish draft.txt?\n")
        assert DIGEST in done.out
        assert done.out.endswith("approved by ann\n")
        assert (desk.approvals[0].state, desk.approvals[0].comment) == ("approved", "looks right")

    def test_a_no_is_a_no(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """JSON: the approval as it is then."""
        decided = run("approve", "m-1", "a-1", "--deny", "-y", "-o", "json", env=env).json
        assert decided.keys() == KEYS
        assert (decided["state"], decided["decided_by"], states(desk)) == ("denied", "ann", ["denied"])

    def test_one_of_several_has_to_be_named(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """Code 2 with the command that lists them; a name decides that one alone."""
        desk.approvals.append(approval("a-2", message="And this?"))
        done = run("approve", "m-1", "--yes", env=env)
        assert done.code == 2
        assert "missiongate approvals m-1" in done.err
        assert run("approve", "m-1", "a-2", "--yes", env=env).code == 0
        assert states(desk) == ["pending", "approved"]

    @pytest.mark.parametrize(
        ("args", "code"),
        [(("m-2",), "approval.none_pending"), (("m-1", "a-9"), "approval.not_found"), (("m-9",), "mission.not_found")],
    )
    def test_what_does_not_wait_cannot_be_decided(
        self, desk: FakeDesk, env: Mapping[str, str], args: tuple[str, ...], code: str
    ) -> None:
        """Code 2, and nothing is."""
        done = run("approve", *args, "--yes", "-o", "json", env=env)
        assert (done.code, done.json["errors"][0]["code"]) == (2, code)
        assert states(desk) == ["pending"]

    @pytest.mark.parametrize("output", ["text", "json"])
    def test_where_nobody_can_be_asked_nothing_is_decided(
        self, desk: FakeDesk, env: Mapping[str, str], output: str
    ) -> None:
        """A pipe with a y in it is no person: --yes has to say that it is meant."""
        done = run("approve", "m-1", "-o", output, stdin=b"y\n", env=env)
        assert done.code == 2
        assert "--yes" in done.out + done.err
        assert states(desk) == ["pending"]

    def test_a_pinned_digest_decides_that_and_nothing_else(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """What was looked at elsewhere; another one is told, and not decided."""
        done = run("approve", "m-1", "--yes", "--digest", "sha256:" + "e" * 64, "-o", "json", env=env)
        assert (done.code, done.json["errors"][0]["code"]) == (2, "approval.digest_mismatch")
        assert states(desk) == ["pending"]
        assert run("approve", "m-1", "--yes", "--digest", DIGEST, env=env).code == 0

    @pytest.mark.parametrize("text", ["\x1b[2Jgone", "a\u202etxt", "Publish?\nstep  harmless", "[red]x[/red]"])
    def test_a_message_cannot_pass_for_something_else(self, desk: FakeDesk, env: Mapping[str, str], text: str) -> None:
        """Each of its lines is marked, nothing of it moves the cursor, and none of it is a style."""
        desk.approvals = [approval(message=text, step_id=text)]
        shown = run("approve", "m-1", "--yes", env=env).out
        listed = run("approvals", "--all", env=env).out
        assert not [c for c in shown + listed if not c.isprintable() and c != "\n"]
        assert [line for line in shown.splitlines() if "harmless" in line and line.startswith("│")] == (
            ["│ step  harmless"] if "harmless" in text else []
        )
        if "red" in text:
            assert text in shown
            assert text in listed
