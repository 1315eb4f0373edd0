"""audit show, prove, checkpoint, export and index, on a folder."""

import base64
import hashlib
from pathlib import Path

import orjson
import pytest

from engine.audit.export import proof_bytes
from gateway.auditing.database import INDEX_FILE
from tests.audit_events import lines_of, put_log, story
from tests.audit_logs import VKEY, signed, tree_root
from tests.cli_runner import run

LINES = lines_of(story())
SHOWN = """\
2026-01-31
      2  12:00:02.000  mission.admitted         m1  2 steps  by red/ann
      3  12:00:03.000  step.allowed             m1/a  transform  by red/ann
      6  12:00:06.000  step.refused             m2/x[3]  create_file  it is closed  [step.path_closed]  by blue/bob
      7  12:00:07.000  effect.performed         m1/b  file.write  by red/ann
      8  12:00:08.000  approval.decided         m1/b  approved  by red/eve
      9  12:00:09.000  mission.ended            m1  Success  2 completed  by red/ann
     12  12:00:12.000  audit.read               S/QueryEvents  0 to 8  by red/eve
     13  12:00:13.000  mission.pruned           missions  2 missions  by gateway
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log in two segments, without an index."""
    return put_log(tmp_path / "log", LINES, starts=(6,))


def seqs(log: Path, *options: object) -> list[int]:
    """Return what is shown, by the JSON form; the lines form has the same events."""
    found = run("audit", "show", "--log", log, "-o", "json", *options)
    raw = run("audit", "show", "--log", log, "-o", "lines", *options)
    assert (found.code, raw.code) == (0, 0), found.out
    shown = [event["seq"] for event in found.lines]
    assert raw.out.encode() == b"".join(LINES[seq] + b"\n" for seq in shown)
    return shown


def test_an_event_is_a_line_with_what_matters_of_it(log: Path) -> None:
    """Seq, time, type, target, the details of its type, the reason of a no, and by whom; the day where it changes."""
    done = run("audit", "show", "--log", log, width=200)
    shown = [line for line in done.out.splitlines() if line in SHOWN.splitlines()]
    assert shown == SHOWN.splitlines()
    assert done.out.count("\n") == 1 + len(LINES)


def test_foreign_text_moves_no_cursor(tmp_path: Path) -> None:
    """What a client wrote into the log is shown escaped."""
    reasons = [{"code": "a.b", "message": "\x1b[2J\u202egone", "rule": "r"}]
    log = put_log(tmp_path / "log", lines_of([("step.refused", "red/\x1bx", "m1/\x07", {"reasons": reasons})]))
    out = run("audit", "show", "--log", log).out
    assert out.isprintable() or all(c.isprintable() or c == "\n" for c in out)
    assert "\\x1b[2J\\u202egone" in out


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ((), list(range(14))),
        (("--mission", "m1"), [2, 3, 4, 7, 8, 9, 11, 13]),
        (("--principal", "blue/bob"), [5, 6, 10, 11]),
        (("--type", "step.*", "--type", "mission.ended"), [3, 4, 6, 9, 10]),
        (("--decision", "deny"), [6, 11]),
        (("--decision-id", "d-1"), [3]),
        (("--since", "2026-01-31T12:00:05Z", "--until", "2026-01-31T13:00:08+01:00"), [5, 6, 7]),
        (("--mission", "m1", "--decision", "allow", "--limit", "2"), [2, 3]),
        (("--after", "11"), [12, 13]),
        (("--since", "1d"), []),
    ],
)
def test_filters_are_the_same_with_and_without_an_index(log: Path, options: tuple[str, ...], found: list[int]) -> None:
    """Found by a scan, by an index that covers a part, by one that covers all."""
    assert seqs(log, *options) == found
    put_log(log, LINES[:8])
    assert run("audit", "index", "rebuild", "--log", log).code == 0
    put_log(log, LINES, starts=(8,))
    assert seqs(log, *options) == found
    assert run("audit", "index", "rebuild", "--log", log, "-o", "json").json["events"] == len(LINES)
    assert seqs(log, *options) == found


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--decision", "maybe"), "usage.decision"),
        (("--since", "yesterday"), "usage.since"),
        (("--until", "99y"), "usage.until"),
        (("--type", "Step"), "usage.filter"),
    ],
)
def test_what_no_event_can_be_is_2(log: Path, options: tuple[str, ...], code: str) -> None:
    """Usage, as JSON too."""
    done = run("audit", "show", "--log", log, "-o", "json", *options)
    assert done.code == 2
    assert done.json["errors"][0]["code"] == code


def test_no_log_is_2(tmp_path: Path) -> None:
    """In words."""
    for command in (
        ("show",),
        ("checkpoint",),
        ("prove", "3"),
        ("export", "--out", tmp_path / "b"),
        ("index", "rebuild"),
    ):
        done = run("audit", *command, "--log", tmp_path / "none")
        assert done.code == 2, command
        assert "no log here" in done.err, command


def test_a_proof_is_a_tlog_proof_of_the_event_beside_it(log: Path, tmp_path: Path) -> None:
    """By seq and by id, the same; the hashes lead from the event to the signed root."""
    out = tmp_path / "p.tlog-proof"
    done = run("audit", "prove", "4", "--log", log, "--out", out, "-o", "json")
    assert done.code == 0
    assert out.with_suffix(".event").read_bytes() == LINES[4]
    proof = done.json
    hashes = [base64.b64decode(each) for each in proof["hashes"]]
    assert out.read_bytes() == proof_bytes(4, hashes, signed(LINES))
    assert_leads_to_root(LINES[4], 4, len(LINES), hashes)
    event_id = orjson.loads(LINES[4])["event_id"]
    assert run("audit", "prove", event_id, "--log", log, "-o", "json").json["seq"] == 4
    again = run("audit", "prove", "4", "--log", log, "--out", out)
    assert again.code == 2  # never over a file that is there
    assert run("audit", "prove", "4", "--log", log).out.encode() == out.read_bytes()


def assert_leads_to_root(line: bytes, index: int, size: int, hashes: list[bytes]) -> None:
    """Check an audit path by the recursion of RFC 6962, 2.1.1."""

    def root(start: int, stop: int, path: list[bytes]) -> bytes:
        if stop - start == 1:
            return hashlib.sha256(b"\x00" + line).digest()
        split = start + (1 << (stop - start - 1).bit_length() - 1)
        last = path.pop()
        left, right = (root(start, split, path), last) if index < split else (last, root(split, stop, path))
        return hashlib.sha256(b"\x01" + left + right).digest()

    assert root(0, size, hashes) == tree_root(LINES)


@pytest.mark.parametrize(
    ("event", "code"),
    [("99", "audit.event_not_found"), ("f" * 32, "audit.event_not_found"), ("nonsense", "audit.event_not_found")],
)
def test_an_event_that_is_not_there_is_2(log: Path, event: str, code: str) -> None:
    """Or is not signed yet."""
    done = run("audit", "prove", event, "--log", log, "-o", "json")
    assert (done.code, done.json["errors"][0]["code"]) == (2, code)


def test_a_proof_needs_an_event_and_witnesses_if_it_is_to_be_under_theirs(log: Path) -> None:
    """Usage."""
    assert run("audit", "prove", "--log", log, "-o", "json").json["errors"][0]["code"] == "usage.event"
    done = run("audit", "prove", "3", "--witnessed", "--log", log, "-o", "json")
    assert (done.code, done.json["errors"][0]["code"]) == (2, "audit.not_witnessed")
    (log / "witnessed").write_bytes(signed(LINES[:5]))
    assert run("audit", "prove", "3", "--witnessed", "--log", log, "-o", "json").json["size"] == 5
    assert run("audit", "checkpoint", "--witnessed", "--log", log).out.encode() == signed(LINES[:5])


def test_consistency_is_proved_between_two_sizes(log: Path) -> None:
    """With the later one's checkpoint where it is the newest."""
    whole = run("audit", "prove", "--consistency", "8", "--log", log, "-o", "json").json
    assert (whole["old_size"], whole["new_size"]) == (8, len(LINES))
    assert whole["checkpoint"].encode() == signed(LINES)
    part = run("audit", "prove", "--consistency", "4", "8", "--log", log, "-o", "json").json
    assert part["checkpoint"] == ""
    assert [base64.b64decode(each) for each in part["hashes"]] == [tree_root(LINES[4:8])]
    assert run("audit", "prove", "--consistency", "9", "8", "--log", log).code == 2


def test_a_checkpoint_is_given_out_as_it_is(log: Path, tmp_path: Path) -> None:
    """To standard output, or to a file that is not there yet."""
    assert run("audit", "checkpoint", "--log", log).out.encode() == signed(LINES)
    out = tmp_path / "kept"
    assert run("audit", "checkpoint", "--log", log, "--out", out).code == 0
    assert out.read_bytes() == signed(LINES)
    assert run("audit", "checkpoint", "--log", log, "--out", out).code == 2


def test_an_export_has_what_the_filter_finds_and_a_proof_of_each(log: Path, tmp_path: Path) -> None:
    """Whole only where nothing is left out."""
    out = tmp_path / "some"
    done = run("audit", "export", "--log", log, "--key", VKEY, "--mission", "m2", "--out", out, "-o", "json")
    assert done.json == {"directory": str(out), "events": 4, "size": len(LINES)}
    assert (out / "events.jsonl").read_bytes() == b"".join(LINES[seq] + b"\n" for seq in (5, 6, 10, 13))
    assert [path.name for path in sorted((out / "proofs").iterdir())] == [
        f"{seq:020d}.tlog-proof" for seq in (5, 6, 10, 13)
    ]
    manifest = orjson.loads((out / "manifest.json").read_bytes())
    assert (manifest["complete"], manifest["filter"]) == (False, "mission_id=m2")
    assert run("audit", "export", "--log", log, "--key", VKEY, "--out", tmp_path / "all").code == 0
    assert orjson.loads((tmp_path / "all" / "manifest.json").read_bytes())["complete"] is True
    assert run("audit", "export", "--log", log, "--out", tmp_path / "x", "-o", "json").json["errors"][0]["code"] == (
        "usage.key"
    )


def test_a_pruned_log_is_shown_from_where_it_begins(log: Path) -> None:
    """Who asks for more is told from where on there is something."""
    put_log(log, LINES, starts=(6,), pruned=6)
    assert seqs(log) == list(range(6, len(LINES)))
    done = run("audit", "show", "--log", log, "--after", "2", "-o", "json")
    assert (done.code, done.json["errors"][0]["code"]) == (2, "audit.pruned")


def test_the_index_is_rebuilt_by_nobody_else(log: Path) -> None:
    """A gateway that runs on the log holds it; what is there and damaged is replaced."""
    (log / INDEX_FILE).write_bytes(b"nonsense" * 1_000)
    done = run("audit", "index", "rebuild", "--log", log)
    assert done.code == 0
    assert f"{len(LINES)} events in " in done.out
