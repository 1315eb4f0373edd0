"""submit, get, list, watch, cancel, pause, resume and retry, against a real server in front of a fake desk."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import FaultError, MissionInvalidError, Violation
from engine.result import MissionState
from gateway.cli import options
from gateway.client import Retry
from gateway.errors import (
    ConflictError,
    OverloadedError,
    PolicyDeniedError,
    Reason,
    SanitizationError,
    StoreError,
)
from gateway.identity import Principal
from gateway.missions.views import MissionEvent
from tests.cli_runner import run
from tests.fakes import MOMENT, FakeDesk, ended, event, step_result, view
from tests.rpc_server import served_aside

ID = "0b9ad7a4-6f0e-4a53-9d3a-2f6f7a0b1c2d"
FAILURE = {"code": "step.x", "message": "m"}
EVENT_KEYS = {"index", "timestamp", "kind", "step_id", "details"}
VIEW_KEYS = {
    "mission_id", "name", "state", "digest", "submitter", "tenant", "created_at", "ended_at", "steps_total", "paused",
    "run", "parent_id", "result", "waits_for", "decision_labels", "erased_at",
}  # fmt: skip


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk(
        missions={ID: ended(ID)},
        events=[
            event(0, "mission.executing", ""),
            event(1),
            event(2, "step.completed"),
            event(3, "mission.completed", ""),
        ],
    )


@pytest.fixture
def env(desk: FakeDesk) -> Iterator[dict[str, str]]:
    with served_aside(desk) as address:
        yield {"MISSIONGATE_SERVER": address, "MISSIONGATE_TOKEN": "ann-token"}


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "mission.yaml"
    path.write_text("version: '1.0'\n")
    return path


class TestForms:
    def test_submit_sends_the_files_bytes(self, desk: FakeDesk, env: Mapping[str, str], document: Path) -> None:
        """As they are: line numbers in errors are those of the file. JSON: mission_id, digest, created."""
        done = run("submit", document, "--request-id", "r", "-o", "json", env=env)
        assert done.code == 0
        assert done.json == {"mission_id": "m-r", "digest": "sha256:" + "d" * 64, "created": True}
        assert desk.forms == [b"version: '1.0'\n"]
        assert run("submit", document, "--request-id", "r", env=env).out == "mission m-r\n"

    def test_submit_reads_standard_input(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """Under the name -."""
        assert run("submit", "-", stdin=b"{}", env=env).code == 0
        assert desk.forms == [b"{}"]

    def test_a_submission_without_a_request_id_gets_a_new_one(self, env: Mapping[str, str], document: Path) -> None:
        """So that two are two missions."""
        one, two = (run("submit", document, "-o", "json", env=env).json["mission_id"] for _ in range(2))
        assert one != two

    def test_get_prints_the_documented_view(self, env: Mapping[str, str]) -> None:
        """JSON: the view; its result in the words of the data-model document."""
        view_ = run("get", ID, "-o", "json", env=env).json
        assert view_.keys() == VIEW_KEYS
        assert view_["state"] == "Completed"
        assert view_["result"]["overall_status"] == "Success"
        assert list(view_["result"]["step_results"]) == ["a", "b"]
        assert view_["result"]["step_results"]["a"] == {
            "status": "Completed",
            "output": {"path": "out/a.txt"},
            "duration_ms": 1.5,
            "timestamp": "2026-07-01T12:30:16.000000Z",
            "attempts": 1,
        }

    def test_list_prints_missions_and_the_next_pages_token(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """JSON: missions without results, next_page_token; filters and token reach the gateway."""
        desk.missions["m-2"] = view("m-2")
        page = run("list", "--page-size", 1, "-o", "json", env=env).json
        assert list(page) == ["missions", "next_page_token"]
        assert list(page.values())[1] == "more"
        running = run("list", "--state", "Executing", "--page-token", "more", "-o", "json", env=env).json
        assert [m["mission_id"] for m in running["missions"]] == ["m-2"]
        assert "more" in desk.asked

    def test_watch_prints_an_event_a_line_and_the_view_last(self, env: Mapping[str, str]) -> None:
        """JSON lines, from the index that was asked for."""
        lines = run("watch", ID, "--from-index", 1, "-o", "json", env=env).lines
        assert [line["index"] for line in lines[:-1]] == [1, 2, 3]
        assert all(line.keys() == EVENT_KEYS for line in lines[:-1])
        assert lines[-1].keys() == VIEW_KEYS

    def test_cancel_prints_the_view(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """And the reason reaches the gateway."""
        assert run("cancel", ID, "--reason", "no need", "-o", "json", env=env).json["mission_id"] == ID
        assert desk.asked == ["no need"]

    def test_pause_and_resume_print_the_view(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """And say so to people; the reason reaches the gateway."""
        desk.missions[ID] = view(ID)
        assert run("pause", ID, "--reason", "let us see", "-o", "json", env=env).json["paused"] is True
        assert desk.asked == ["let us see"]
        assert "Executing  paused" in run("get", ID, env=env).out
        assert "paused" not in run("resume", ID, env=env).out

    def test_retry_prints_the_view_of_the_next_run(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """Effects in doubt are repeated only where that was asked for; --watch follows, and says how it ended."""
        assert run("retry", ID, "-o", "json", env=env).json["run"] == 2
        assert "run 3" in run("retry", ID, "--repeat-in-doubt", env=env).out
        assert desk.asked == ["repeat_in_doubt False", "repeat_in_doubt True"]
        desk.missions[ID] = ended(ID, step_result("a", "Failed", output=None, error=FAILURE), status="Failed")
        done = run("retry", ID, "--watch", "-o", "json", env=env)
        assert done.code == 1
        assert [line.get("kind") for line in done.lines[1:-1]] == [e.kind for e in desk.events]

    def test_what_a_mission_is_a_part_of_is_shown(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """Its parent, which is the one to retry."""
        desk.missions[ID] = replace(ended(ID, step_result("a", "Failed", output=None, error=FAILURE)), parent_id="m-0")
        assert run("get", ID, "-o", "json", env=env).json["parent_id"] == "m-0"
        assert "a part of m-0" in run("get", ID, env=env).out

    def test_json_is_utf_8(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """Names and outputs in any script."""
        desk.missions[ID] = view(ID, name="отчёт 報告 ✓")
        assert run("get", ID, "-o", "json", env=env).json["name"] == "отчёт 報告 ✓"


class TestExitCodes:
    @pytest.mark.parametrize(("status", "code"), [("Success", 0), ("Partial", 1), ("Failed", 1)])
    def test_following_says_whether_the_mission_succeeded(
        self, desk: FakeDesk, env: Mapping[str, str], document: Path, status: str, code: int
    ) -> None:
        """Watch and submit --watch: 0 for Success, 1 for anything else; get is 0, since it did what it was asked."""
        desk.missions[ID] = desk.missions["m-r"] = ended(ID, step_result("a"), status=status)
        assert run("watch", ID, env=env).code == code
        assert run("submit", document, "--watch", "--request-id", "r", env=env).code == code
        assert run("get", ID, env=env).code == 0

    @pytest.mark.parametrize(
        ("fault", "code"),
        [
            (MissionInvalidError([Violation(code="mission.cycle", message="a → a", field="steps[0]", line=3)]), 2),
            (
                MissionInvalidError(
                    [Violation(code="mission.too_many_steps", message="m", field="steps", kind="limit")]
                ),
                3,
            ),
            (SanitizationError([Violation(code="sanitize.path.traversal", message="m", field="steps[0]", line=3)]), 3),
            (PolicyDeniedError([Reason("path.protected", "m", "rule")]), 3),
            (ConflictError("m", code="mission.request_id_reused"), 2),
            (OverloadedError("m", code="mission.too_many_running"), 4),
            (StoreError("m", code="store.full"), 4),
            (ValueError("secret"), 4),
        ],
        ids=lambda value: getattr(value, "code", None) or str(value),
    )
    def test_each_kind_of_failure_has_its_code(
        self, desk: FakeDesk, env: Mapping[str, str], document: Path, fault: Exception, code: int
    ) -> None:
        """2 malformed, 3 refused, 4 cannot answer; JSON errors have code, message, field and line."""
        desk.fault = fault
        done = run("submit", document, "-o", "json", env=env)
        assert done.code == code
        (error,) = done.json["errors"]
        assert error.keys() == {"code", "message", "field", "line"}
        assert error["code"] == getattr(fault, "code", "internal")
        assert "secret" not in done.out + done.err

    def test_what_is_not_there_and_who_is_not_known_are_usage(self, env: Mapping[str, str]) -> None:
        """Both are 2: the call has to be made otherwise."""
        assert run("get", "nope", env=env).code == 2
        done = run("get", ID, "-o", "json", env={**env, "MISSIONGATE_TOKEN": "wrong"})
        assert done.code == 2
        assert done.json["errors"][0]["code"] == "auth.unauthenticated"

    def test_people_are_told_the_next_command(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """With the mission in its place, so that it can be copied; no name of a variable is taken for it."""
        desk.fault = ConflictError("m", code="mission.ended")
        assert f"missiongate retry {ID}" in run("pause", ID, env=env).err
        done = run("get", ID, env={**env, "MISSIONGATE_TOKEN": "wrong"})
        assert "MISSIONGATE_TOKEN" in done.err
        assert "missiongate serve" in run("get", ID, "--server", "127.0.0.1:1").err

    def test_no_gateway_is_4_at_once(self, document: Path) -> None:
        """A port that nobody listens on, and a name that nobody has."""
        for address in ("127.0.0.1:1", "no-such-host.invalid:7443"):
            done = run("submit", document, "--server", address, "-o", "json")
            assert done.code == 4
            assert done.json["errors"][0]["code"] == "rpc.unavailable"
            assert address in done.json["errors"][0]["message"]

    @pytest.mark.parametrize("address", ["", "nonsense", "127.0.0.1:0", "127.0.0.1:65536", "unix:", "a b:1"])
    def test_a_bad_address_is_usage(self, address: str) -> None:
        """Before anything is dialled."""
        done = run("list", "--server", address, "-o", "json")
        assert done.code == 2
        assert done.json["errors"][0]["code"] == "server.address"

    @pytest.mark.parametrize("name", ["missing", "folder", "nul\0name"])
    def test_a_document_that_cannot_be_read_is_usage(self, tmp_path: Path, name: str) -> None:
        """Missing, a directory, no name: 2, in both forms, without a traceback."""
        (tmp_path / "folder").mkdir()
        for command in ("submit", "plan"):
            done = run(command, f"{tmp_path}/{name}", "-o", "json")
            assert done.code == 2
            assert done.json["errors"][0]["code"] == "document.unreadable"

    def test_a_document_over_every_limit_is_refused_by_size(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """However large the file: what is sent stays under the transport's limit, and over the gateway's."""
        run("submit", "-", stdin=b"x" * (20 * 1024 * 1024), env=env)
        (form,) = desk.forms
        assert 4 * 1024 * 1024 < len(form) < 8 * 1024 * 1024


class TestTokens:
    def test_a_token_comes_from_a_file_or_the_environment(self, env: Mapping[str, str], tmp_path: Path) -> None:
        """The file goes before the variable."""
        (tmp_path / "token").write_text("ann-token\n")
        assert run("get", ID, "--token-file", tmp_path / "token", env={**env, "MISSIONGATE_TOKEN": "wrong"}).code == 0

    def test_no_option_takes_a_token(self) -> None:
        """`ps` shows arguments to everyone: no command has one for the token itself."""
        for command in (
            "submit", "plan", "get", "list", "watch", "cancel", "pause", "resume", "retry", "approve", "approvals"
        ):  # fmt: skip
            assert not re.search(r"--token(?!-file)\b", run(command, "--help", width=200).out)
            assert run(command, "x", "--token", "secret").code == 2

    @pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"\xff\xfe", b"a\nb", b"x" * 9_000, b"\x1b[2J"])
    def test_a_file_that_holds_no_token_is_usage(self, tmp_path: Path, content: bytes) -> None:
        """2, and nothing of its content is printed."""
        (tmp_path / "token").write_bytes(content)
        done = run("list", "--token-file", tmp_path / "token", "-o", "json")
        assert done.code == 2
        assert done.json["errors"][0]["code"] == "token.invalid"
        assert "words" not in done.out

    def test_a_file_that_cannot_be_read_is_usage(self, tmp_path: Path) -> None:
        """2, with the system's reason."""
        done = run("list", "--token-file", tmp_path, "-o", "json")
        assert done.code == 2
        assert done.json["errors"][0]["code"] == "token.unreadable"

    @pytest.mark.parametrize("address", ["10.0.0.1:7443", "gateway.example:7443", "0.0.0.0:7443", "[fe80::1]:7443"])
    def test_a_token_is_not_sent_in_the_clear(self, address: str) -> None:
        """To another machine: refused before anything is dialled."""
        done = run("list", "--server", address, "-o", "json", env={"MISSIONGATE_TOKEN": "secret"})
        assert done.code == 2
        assert done.json["errors"][0]["code"] == "server.cleartext"


class TestForPeople:
    @pytest.mark.parametrize("width", [40, 80, 120])
    def test_an_id_is_never_cut(self, desk: FakeDesk, env: Mapping[str, str], width: int) -> None:
        """At any width a list shows whole ids, one mission a line; what is cut is the name."""
        desk.missions["m-2"] = view("m-2", name="a name that is " + "very " * 40 + "long")
        lines = run("list", env=env, width=width).out.splitlines()
        assert [line.split()[0] for line in lines] == ["mission", ID, "m-2"]
        assert all(len(line) <= width for line in lines)

    def test_a_wide_list_says_more(self, env: Mapping[str, str]) -> None:
        """Steps and submitter where there is room."""
        assert "submitter" not in run("list", env=env, width=80).out
        assert "submitter" in run("list", env=env, width=120).out
        assert "2026-07-01 12:30" in run("list", env=env, width=80).out

    def test_no_missions_is_said(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """Instead of an empty table."""
        desk.missions.clear()
        assert run("list", env=env).out == "no missions\n"

    def test_a_view_shows_failures_whole(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """Message and code of a failed step are there at 80 columns; outputs are cut to the line."""
        failure = {"code": "step.path_closed", "message": "words " * 30 + "end"}
        steps = (step_result("a", output="x" * 500), step_result("b", "Failed", output=None, error=failure))
        desk.missions[ID] = ended(ID, *steps, status="Partial")
        out = run("get", ID, env=env, width=80).out
        assert " ".join(out.split()).count("words") == 30
        assert "[step.path_closed]" in out
        assert "x…" in out
        assert max(map(len, out.splitlines()[2:])) <= 80
        assert "Partial: 1 completed, 1 failed in 2.0 s" in out

    def test_events_name_time_state_and_step(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """One line each, with the reason of a failure."""
        failure = {"code": "step.timeout", "message": "too slow"}
        desk.events = [event(0, "step.failed", "a", error=failure), event(1, "mission.failed", "")]
        first = run("watch", ID, env=env).out.splitlines()[0]
        assert first.split() == [MOMENT.strftime("%H:%M:%S.250"), "Failed", "a", "too", "slow", "[step.timeout]"]

    @pytest.mark.parametrize("name", ["\x1b[2Jgone", "\x9b31m", "a\u202etxt.exe", "bell\x07", "one\rtwo", "a\nb"])
    def test_foreign_text_does_not_reach_the_terminal_raw(
        self, desk: FakeDesk, env: Mapping[str, str], name: str
    ) -> None:
        """What moves a cursor, rings, or turns the reading direction is shown escaped, wherever it comes from."""
        failure = {"code": "x", "message": name}
        desk.missions[ID] = ended(ID, step_result("a", "Failed", error=failure, output=None), status="Failed")
        desk.missions["m-2"] = view("m-2", name=name, submitter=name, state=MissionState.EXECUTING)
        asked = {"for": "approval", "approval_id": name, "message": name}
        desk.events = [
            event(0, "step.failed", name, error=failure), event(1, "step.waiting", name, **asked),
            event(2, "mission.failed", ""),
        ]  # fmt: skip
        done = [
            run("get", ID, env=env),
            run("watch", ID, env=env),
            run("list", env=env, width=200),
            run("get", "m-2", env=env),
        ]
        desk.fault = SanitizationError([Violation(code="x", message=name, field=name)])
        done.append(run("get", ID, env=env))
        for each in done:
            assert not [c for c in each.out + each.err if not c.isprintable() and c != "\n"]

    def test_names_are_no_markup(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """A mission named like a style, a closing tag or an emoji is shown as it is named."""
        desk.missions[ID] = view(ID, name="[red]a[/red] [/] :warning:")
        assert "[red]a[/red] [/] :warning:" in run("get", ID, env=env).out
        assert "[red]a[/red] [/] :warning:" in run("list", env=env, width=200).out

    @pytest.mark.parametrize(
        ("code", "command"),
        [
            ("effect.in_doubt", f"missiongate retry {ID} --repeat-in-doubt\n"),
            ("step.x", f"missiongate retry {ID}\n"),
        ],
    )
    def test_a_failure_names_the_command_that_goes_on(
        self, desk: FakeDesk, env: Mapping[str, str], code: str, command: str
    ) -> None:
        """Where an effect is in doubt, the one with which a person decides; a success names none."""
        failure = {"code": code, "message": "m"}
        desk.missions["m-2"] = ended("m-2")
        desk.missions[ID] = ended(ID, step_result("a", "Failed", output=None, error=failure), status="Failed")
        assert command in run("get", ID, env=env).out
        assert "retry" not in run("get", "m-2", env=env).out

    def test_doubt_in_a_part_or_an_item_is_for_a_person_as_well(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """The part is retried first, then the mission that waits for it; who has a failed part is told to look."""
        item = {"code": "foreach.item_failed", "message": "1 of 2 items failed: item 1: m [effect.in_doubt]"}
        part = ended(ID, step_result("a", "Failed", output=None, error=item), status="Failed")
        desk.missions[ID] = replace(part, parent_id="m-0")
        told = run("get", ID, env=env).out
        assert f"missiongate retry {ID} --repeat-in-doubt\n" in told
        assert told.endswith("missiongate retry m-0\n")
        failure = {"code": "effect.mission_failed", "message": f"mission {ID} is Failed"}
        desk.missions["m-0"] = ended("m-0", step_result("a", "Failed", output=None, error=failure), status="Failed")
        assert "missiongate get" in run("get", "m-0", env=env).out

    @pytest.mark.parametrize(
        ("code", "command"),
        [
            ("mission.ended", "missiongate retry"),
            ("mission.paused", "missiongate resume"),
            ("mission.not_ended", "watch"),
        ],
    )
    def test_an_error_names_the_next_command(
        self, desk: FakeDesk, env: Mapping[str, str], code: str, command: str
    ) -> None:
        """In the human form; a program has the code."""
        desk.fault = ConflictError("it is not so", code=code)
        done = run("pause", ID, env=env)
        assert (done.code, done.out) == (2, "")
        assert command in done.err

    def test_who_is_waited_for_is_told_with_the_command(self, desk: FakeDesk, env: Mapping[str, str]) -> None:
        """A line of its own under the event."""
        asked = {"for": "approval", "approval_id": "a-1", "message": "Publish?"}
        desk.events = [event(0, "step.waiting", "release", **asked), event(1, "mission.failed", "")]
        lines = run("watch", ID, env=env).out.splitlines()
        assert lines[0].split()[1:] == ["Waiting", "release", "for", "approval:", "Publish?"]
        assert lines[1].strip() == f"missiongate approve {ID} a-1"

    def test_errors_say_where(self, desk: FakeDesk, env: Mapping[str, str], document: Path) -> None:
        """file:line, field, message, code, on standard error; nothing on standard output."""
        desk.fault = SanitizationError([Violation(code="sanitize.x", message="is bad", field="steps[0].id", line=7)])
        done = run("submit", document, env=env)
        assert done.err == f"✗ {document}:7: steps[0].id: is bad  [sanitize.x]\n"
        assert done.out == ""


class Stopping(FakeDesk):
    """A desk of a gateway that stops with the last event that it tells."""

    async def watch(self, principal: Principal, mission_id: str, from_index: int) -> AsyncIterator[MissionEvent]:
        async for each in super().watch(principal, mission_id, from_index):
            self.fault = FaultError("stopped") if each is self.events[-1] else None
            yield each


@pytest.mark.parametrize(("status", "code"), [("Success", 0), ("Failed", 1)])
def test_a_gateway_that_stops_right_after_the_end_has_told_it(
    monkeypatch: pytest.MonkeyPatch, status: str, code: int
) -> None:
    """A watcher that saw the mission end exits by how it ended, though the result can no longer be asked for."""
    monkeypatch.setattr(options, "RETRY", Retry(attempts_max=1, reconnects_max=2, first_seconds=0))
    for kind, expected in (("mission.completed", code), ("step.completed", 4)):
        desk = Stopping(missions={ID: ended(ID)}, events=[event(0, kind, status=status)])
        with served_aside(desk) as address:
            env = {"MISSIONGATE_SERVER": address, "MISSIONGATE_TOKEN": "ann-token"}
            assert run("watch", ID, "-o", "json", env=env).code == expected
