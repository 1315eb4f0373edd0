"""Whoever can write the files but has not the key: each attack, and whether it is seen and named."""

import shutil
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from engine.audit.errors import AuditTamperedError
from engine.audit.keys import Ed25519Signer
from engine.audit.verify import VerificationReport, verify_log
from tests.audit_logs import (
    NAME,
    VKEY,
    lines,
    make_log,
    open_log,
    put_lines,
    rechain,
    rehash,
    reseal,
    segment,
    signed,
    split_segments,
)
from tests.depth import some, times

EVENTS = 40
THIEF = Ed25519Signer(NAME, bytes(32))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_log(tmp_path_factory.mktemp("audit") / "log", EVENTS)


@pytest.fixture
def directory(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "log"))


def edited(line: bytes) -> bytes:
    return line.replace(b'"actor":"worker', b'"actor":"mallor')


Attack = Callable[[list[bytes]], list[bytes]]

# Each attack on the lines, and the event that the verifier has to name.
NAMED: dict[str, tuple[Attack, int]] = {
    "edit": (lambda c: [*c[:7], edited(c[7]), *c[8:]], 7),
    "edit the first": (lambda c: [c[0].replace(b'"format":2', b'"format":1'), *c[1:]], 0),
    "edit the last": (lambda c: [*c[:-1], edited(c[-1])], EVENTS - 1),
    "edit and hash": (lambda c: [*c[:7], rehash(c[7], actor="mallory"), *c[8:]], 8),
    "delete the first": (lambda c: c[1:], 0),
    "delete one": (lambda c: c[:7] + c[8:], 7),
    "delete and renumber": (lambda c: [*c[:7], rehash(c[8], seq=7), *c[9:]], 7),
    "delete the last": (lambda c: c[:-1], EVENTS - 1),
    "delete all": (lambda _: [], 0),
    "insert a copy": (lambda c: [*c[:8], c[7], *c[8:]], 8),
    "insert a forged one": (lambda c: [*c[:7], rehash(c[7], actor="mallory"), *c[7:]], 8),
    "swap two": (lambda c: [*c[:7], c[8], c[7], *c[9:]], 7),
    "turn all round": (lambda c: c[::-1], 0),
    "empty line": (lambda c: [*c[:7], b"", *c[7:]], 7),
    "white space before": (lambda c: [*c[:7], b" " + c[7], *c[8:]], 7),
    "white space after": (lambda c: [*c[:7], c[7] + b" ", *c[8:]], 7),
    "carriage return": (lambda c: [*c[:7], c[7] + b"\r", *c[8:]], 7),
    "byte order mark": (lambda c: [b"\xef\xbb\xbf" + c[0], *c[1:]], 0),
    "NUL hole": (lambda c: [*c[:7], b"\0" * len(c[7]), *c[8:]], 7),
    "NUL in a string": (lambda c: [*c[:7], c[7].replace(b"worker", b"work\0r"), *c[8:]], 7),
    "not UTF-8": (lambda c: [*c[:7], c[7].replace(b"worker", b"work\xffr"), *c[8:]], 7),
    "torn line": (lambda c: [*c[:7], c[7][:100], *c[8:]], 7),
    "two events in a line": (lambda c: [*c[:7], c[7] + c[8], *c[9:]], 7),
    "duplicate key": (lambda c: [*c[:7], c[7].replace(b'"target"', b'"actor":"m","target"'), *c[8:]], 7),
    "duplicate key, same value": (lambda c: [*c[:7], c[7].replace(b'{"n":7}', b'{"n":7,"n":7}'), *c[8:]], 7),
    "duplicate key, hashed": (
        lambda c: [*c[:7], reseal(c[7][:-75].replace(b'{"n":7}', b'{"n":7,"n":7}') + b"}"), *c[8:]],
        7,
    ),
    "other key order": (
        lambda c: [*c[:7], reseal(orjson.dumps(dict(sorted(orjson.loads(c[7][:-75] + b"}").items())))), *c[8:]],
        7,
    ),
    "other escapes, hashed": (
        lambda c: [*c[:7], reseal(c[7][:-75].replace(b"worker", b"\\u0077orker") + b"}"), *c[8:]],
        7,
    ),
    "a field more, hashed": (lambda c: [*c[:7], rehash(c[7], note="x"), *c[8:]], 7),
    "an over-long line": (lambda c: [*c[:7], rehash(c[7], details={"s": "x" * 70_000}), *c[8:]], 7),
    "a line of two megabytes": (lambda c: [*c[:7], b"x" * 2**21, *c[8:]], 7),
    "deep nesting": (lambda c: [*c[:7], b"[" * 60_000, *c[8:]], 7),
    "deeper than any writer nests, hashed": (
        lambda c: [*c[:7], reseal(c[7][:-75].replace(b"7}", b"[" * 300 + b"]" * 300 + b"}") + b"}"), *c[8:]],
        7,
    ),
    "time goes back, chained": (
        lambda c: rechain([*c[:7], rehash(c[7], timestamp="2026-01-31T11:00:00.000000Z"), *c[8:]]),
        7,
    ),
    "no such day, chained": (
        lambda c: rechain([*c[:7], rehash(c[7], timestamp="2026-02-31T12:00:00.000000Z"), *c[8:]]),
        7,
    ),
    "clock_raw before another field, chained": (
        lambda c: rechain([*c[:7], rehash(c[7], details={"clock_raw": "2026-01-31T12:00:00.000001Z", "n": 7}), *c[8:]]),
        7,
    ),
    "clock_raw of the future, chained": (
        lambda c: rechain([*c[:7], rehash(c[7], details={"clock_raw": "2027-01-31T12:00:00.000000Z"}), *c[8:]]),
        7,
    ),
}


@pytest.mark.parametrize(("attack", "seq"), NAMED.values(), ids=NAMED)
def test_a_changed_line_is_named(directory: Path, attack: Attack, seq: int) -> None:
    """The verifier names the first event that is not as signed, with file and line; the writer refuses to open."""
    put_lines(directory, attack(lines(directory)))
    report = verify_log(directory, VKEY)
    assert not report.ok
    assert report.first_bad is not None
    assert (report.first_bad.seq, report.first_bad.line) == (seq, seq + 1)
    assert report.first_bad.file == f"segments/{0:020d}.jsonl"
    assert report.first_bad.reason
    assert report.events == seq
    with pytest.raises(AuditTamperedError):
        open_log(directory)


# Logs that are consistent in themselves, which only the signed root tells from the true one.
FORGED: dict[str, Attack] = {
    "edited and chained anew": lambda c: rechain([*c[:7], rehash(c[7], actor="mallory"), *c[8:]]),
    "last one edited and hashed": lambda c: [*c[:-1], rehash(c[-1], actor="mallory")],
    "one dropped, one added, chained anew": lambda c: rechain(
        [*c[:7], *c[8:], rehash(c[-1], timestamp="2026-02-01T12:00:00.000000Z")]
    ),
    "other float spelling": lambda c: [*c[:-1], rehash(c[-1], details={"n": 39.0})],
}


@pytest.mark.parametrize("attack", FORGED.values(), ids=FORGED)
def test_a_chain_made_anew_without_the_key_is_seen(directory: Path, attack: Attack) -> None:
    """A forger can make every hash fit but the root that is signed."""
    put_lines(directory, attack(lines(directory)))
    report = verify_log(directory, VKEY)
    assert (report.ok, report.code) == (False, "root.mismatch")
    with pytest.raises(AuditTamperedError):
        open_log(directory)


def test_a_log_signed_with_another_key_is_seen(directory: Path) -> None:
    """A whole log, made anew and signed under the same name by another key, fails under the true key."""
    content = rechain([rehash(line, actor="mallory") for line in lines(directory)])
    put_lines(directory, content)
    (directory / "checkpoint").write_bytes(signed(content, THIEF))
    assert verify_log(directory, VKEY).code == "checkpoint.unsigned"
    assert verify_log(directory, THIEF.verifier_key()).ok


def test_a_forged_signature_under_the_true_key_id_is_seen(directory: Path) -> None:
    """A signature line that claims the true key but is not its signature refuses the note."""
    text, _, line = (directory / "checkpoint").read_bytes().partition(b"\n\n")
    forged = text.replace(b"\n40\n", b"\n39\n") + b"\n\n" + line
    (directory / "checkpoint").write_bytes(forged)
    assert verify_log(directory, VKEY).code == "checkpoint.signature"


def test_a_checkpoint_of_another_origin_is_seen(directory: Path) -> None:
    """The true key's note about another log does not pass for this one's."""
    (directory / "checkpoint").write_bytes(signed(lines(directory), origin="another.example/log"))
    assert verify_log(directory, VKEY).code == "checkpoint.origin"


@pytest.mark.parametrize("content", [None, b"", b"\0" * 200, b"example.com/gateway\n40\n"])
def test_a_lost_or_broken_checkpoint_is_seen(directory: Path, content: bytes | None) -> None:
    """Without its signed checkpoint a log proves nothing, and says so."""
    if content is None:
        (directory / "checkpoint").unlink()
    else:
        (directory / "checkpoint").write_bytes(content)
    assert verify_log(directory, VKEY).code in {"checkpoint.missing", "checkpoint.malformed"}


@pytest.mark.parametrize("keep", [0, 1, 39, 20.5])
def test_a_truncated_file_is_seen(directory: Path, keep: float) -> None:
    """Cut after any line, or within one: the first event that is not there is named."""
    content = lines(directory)
    cut = b"".join(line + b"\n" for line in content[: int(keep)])
    if keep != int(keep):
        cut += content[int(keep)][:50]
    segment(directory).write_bytes(cut)
    report = verify_log(directory, VKEY)
    assert report.first_bad is not None
    assert (report.ok, report.first_bad.seq) == (False, int(keep))


@pytest.mark.parametrize(
    "how", ["swap", "drop the first", "drop one", "drop the last", "rename", "stray", "link", "twice"]
)
def test_segments_out_of_place_are_seen(directory: Path, how: str, tmp_path: Path) -> None:
    """Segments swapped, dropped, renamed, linked or added: each is seen."""
    split_segments(directory, 10, 20, 30)
    at = [segment(directory, seq) for seq in (0, 10, 20, 30)]
    match how:
        case "swap":
            second = at[1].read_bytes()
            at[1].write_bytes(at[2].read_bytes())
            at[2].write_bytes(second)
        case "drop the first":
            at[0].unlink()
        case "drop one":
            at[1].unlink()
        case "drop the last":
            at[3].unlink()
        case "rename":
            at[3].rename(segment(directory, 31))
        case "stray":
            (directory / "segments" / "extra.jsonl").touch()
        case "link":
            at[1].rename(tmp_path / "elsewhere")
            at[1].symlink_to(tmp_path / "elsewhere")
        case _:
            shutil.copy(at[1], segment(directory, 11))
    assert not verify_log(directory, VKEY).ok
    with pytest.raises(AuditTamperedError):
        open_log(directory)


def test_two_logs_cannot_be_spliced(directory: Path, tmp_path: Path) -> None:
    """The beginning of one log and the end of another, under the checkpoint of either, are told apart at the seam."""
    other = make_log(tmp_path / "other", EVENTS, signer=Ed25519Signer("example.org/other", bytes(range(32))))
    put_lines(directory, [*lines(directory)[:20], *lines(other)[20:]])
    report = verify_log(directory, VKEY)
    assert report.first_bad is not None
    assert report.first_bad.seq == 20
    put_lines(directory, lines(other))
    assert verify_log(directory, VKEY).code == "root.mismatch"


def report_with_old_copy(directory: Path, size: int, outside: bytes) -> VerificationReport:
    """Roll the log back to `size` events, checkpoint included, and verify it against a checkpoint kept outside."""
    content = lines(directory)[:size]
    put_lines(directory, content)
    (directory / "checkpoint").write_bytes(signed(content))
    assert verify_log(directory, VKEY).ok
    return verify_log(directory, VKEY, checkpoint=outside)


def test_a_rollback_is_seen_with_an_outside_checkpoint(directory: Path) -> None:
    """An old state with its old, true checkpoint verifies by itself; a newer checkpoint from outside convicts it."""
    outside = (directory / "checkpoint").read_bytes()
    assert report_with_old_copy(directory, 30, outside).code == "outside.rollback"


def test_a_fork_is_seen_with_an_outside_checkpoint(directory: Path) -> None:
    """A second history under the stolen key verifies by itself; an outside checkpoint past the fork convicts it."""
    outside = signed(lines(directory)[:30])
    forked = rechain([*lines(directory)[:20], *(rehash(line, actor="m") for line in lines(directory)[20:])])
    put_lines(directory, forked)
    (directory / "checkpoint").write_bytes(signed(forked))
    assert verify_log(directory, VKEY).ok
    assert verify_log(directory, VKEY, checkpoint=outside).code == "outside.fork"
    assert verify_log(directory, VKEY, checkpoint=signed(lines(directory)[:20])).ok


def test_an_outside_checkpoint_has_to_be_this_logs(directory: Path) -> None:
    """An outside checkpoint that is malformed, or another key's or log's, confirms nothing."""
    content = lines(directory)
    assert verify_log(directory, VKEY, checkpoint=b"").code == "outside.malformed"
    assert verify_log(directory, VKEY, checkpoint=signed(content, THIEF)).code == "outside.unsigned"
    assert verify_log(directory, VKEY, checkpoint=signed(content, origin="else")).code == "outside.origin"


def test_forged_lines_after_the_checkpoint_prove_nothing(directory: Path) -> None:
    """Lines added without the key are counted as unsigned, never as events."""
    put_lines(directory, rechain([*lines(directory), lines(directory)[-1]]))
    report = verify_log(directory, VKEY)
    assert (report.events, report.uncovered_lines) == (EVENTS, 1)


def test_an_old_checkpoint_under_a_long_log_is_seen(tmp_path: Path) -> None:
    """More unsigned lines than one batch are no crash, but a checkpoint put back."""
    directory = make_log(tmp_path / "log", 1_100)
    (directory / "checkpoint").write_bytes(signed(lines(directory)[:50]))
    assert verify_log(directory, VKEY).code == "checkpoint.old"
    with pytest.raises(AuditTamperedError):
        open_log(directory)


@pytest.mark.parametrize(
    "tail",
    [b"x\n" * 1_025, b"x\n" * 1_024 + b"torn", bytes(1_024 * 65_537 + 1), (b"x" * 70_000 + b"\n") * 1_000],
    ids=["lines", "lines and a torn one", "bytes", "long lines"],
)
def test_writer_and_verifier_agree_on_what_no_crash_leaves(directory: Path, tail: bytes) -> None:
    """More than one batch after the checkpoint, in lines or in bytes: neither takes it for a crash."""
    with segment(directory).open("ab") as file:
        file.write(tail)
    assert verify_log(directory, VKEY).code == "checkpoint.old"
    with pytest.raises(AuditTamperedError):
        open_log(directory)


def test_every_flipped_bit_is_seen(tmp_path: Path) -> None:
    """Each single bit of a small log, lines and checkpoint: none can be turned without being seen.

    In `make test` one bit of each byte, another one than in the byte before.
    """
    directory = make_log(tmp_path / "log", 2)
    for path in (segment(directory), directory / "checkpoint"):
        good = path.read_bytes()
        for at in range(len(good)):
            for bit in some([at % 8], range(8)):
                raw = bytearray(good)
                raw[at] ^= 1 << bit
                path.write_bytes(raw)
                assert not verify_log(directory, VKEY).ok, (path.name, at, bit)
        path.write_bytes(good)
    assert verify_log(directory, VKEY).ok


def test_every_dropped_or_doubled_byte_is_seen(tmp_path: Path) -> None:
    """Each byte of a small log taken out, or written twice: seen; in `make test` every third one, and the last."""
    directory = make_log(tmp_path / "log", 3)
    for path in (segment(directory), directory / "checkpoint"):
        good = path.read_bytes()
        for at in range(len(good) - 1, -1, -times(3, 1)):
            for raw in (good[:at] + good[at + 1 :], good[: at + 1] + good[at:]):
                path.write_bytes(raw)
                report = verify_log(directory, VKEY)
                # A last LF written twice is one unsigned empty line after the signed ones, and is reported as such.
                assert not report.ok or (raw == good + b"\n" and report.uncovered_lines == 1), (path.name, at)
        path.write_bytes(good)
