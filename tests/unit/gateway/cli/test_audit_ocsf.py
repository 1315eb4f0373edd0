"""audit ocsf."""

from pathlib import Path

import orjson
import pytest

from tests.audit_logs import NAME, lines, make_log, split_segments
from tests.cli_runner import run
from tests.ocsf_schema import breaches


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Six events in three segments."""
    directory = make_log(tmp_path / "log", 6)
    split_segments(directory, 2, 4)
    return directory


def seqs(*args: object) -> list[int]:
    done = run("audit", "ocsf", *args)
    assert done.code == 0, done.err
    return [told["metadata"]["sequence"] for told in done.lines]


def test_a_log_becomes_ocsf(log: Path) -> None:
    """Every event, an object a line, under the name of its log; `step.completed` is none of ours, and told as such."""
    done = run("audit", "ocsf", log)
    assert [told["metadata"]["sequence"] for told in done.lines] == [0, 1, 2, 3, 4, 5]
    assert [problem for told in done.lines for problem in breaches(told)] == []
    assert {told["metadata"]["log_name"] for told in done.lines} == {NAME}
    assert [told["class_uid"] for told in done.lines[:2]] == [1008, 0]


def test_events_are_chosen_by_type_and_seq(log: Path) -> None:
    """Names, beginnings and ranges; both ends count."""
    assert seqs(log, "--type", "audit.*") == [0]
    assert seqs(log, "--type", "step.completed", "--type", "audit.opened", "--exclude", "audit.*") == [1, 2, 3, 4, 5]
    assert seqs(log, "--from", 3, "--to", 4) == [3, 4]
    assert seqs(log, "--from", 9) == []


def test_an_archive_a_file_and_a_bundle_will_do(log: Path, tmp_path: Path) -> None:
    """What has no checkpoint is named by the caller."""
    assert seqs(log / "segments") == [0, 1, 2, 3, 4, 5]
    one = log / "segments" / f"{2:020d}.jsonl"
    told = run("audit", "ocsf", one, "--log-name", "example.org/x").lines
    assert [(each["metadata"]["sequence"], each["metadata"]["log_name"]) for each in told] == [
        (2, "example.org/x"),
        (3, "example.org/x"),
    ]
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "checkpoint").write_bytes((log / "checkpoint").read_bytes())
    (bundle / "events.jsonl").write_bytes(b"".join(line + b"\n" for line in lines(log)[1::2]))
    assert seqs(bundle) == [1, 3, 5]


def test_raw_lines_are_the_very_bytes(log: Path) -> None:
    """So that a reader of the SIEM can hash them again."""
    told = run("audit", "ocsf", log, "--raw").lines
    assert [each["raw_data"].encode() for each in told] == lines(log)


def test_a_line_that_is_being_written_is_no_event_yet(log: Path) -> None:
    """The command may run beside a gateway."""
    last = log / "segments" / f"{4:020d}.jsonl"
    with last.open("ab") as file:
        file.write(b'{"seq":6,"ev')
    assert seqs(log) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("bad", [b"garbage\n", b"[]\n", b'{"seq":1}\n', b"x" * 70_000 + b"\n"])
def test_what_is_no_event_is_named(log: Path, bad: bytes) -> None:
    """With its file and line; what came before is printed."""
    path = log / "segments" / f"{2:020d}.jsonl"
    first = path.read_bytes().split(b"\n")[0]
    path.write_bytes(first + b"\n" + bad)
    done = run("audit", "ocsf", log)
    assert done.code == 2
    assert f"{path.name}:2" in done.err.replace("\n", "")
    assert [orjson.loads(line)["metadata"]["sequence"] for line in done.out.splitlines()] == [0, 1, 2]


def test_where_there_is_no_log_nothing_is_printed(tmp_path: Path) -> None:
    """An empty folder, and one that is not there."""
    for path in (tmp_path, tmp_path / "none", tmp_path / "nul\0"):
        done = run("audit", "ocsf", path)
        assert (done.code, done.out) == (2, "")
