import asyncio
import itertools
from pathlib import Path

import orjson
import pytest

from engine.audit.checkpoint import Checkpoint, CheckpointError, NoteUnsignedError, open_checkpoint
from engine.audit.errors import AuditLockedError, AuditRotationError, AuditTamperedError, AuditUnavailableError
from engine.audit.files import SystemFiles
from engine.audit.key_ring import KEY_ROTATED, KeyRing, Rotation, read_rotations
from engine.audit.key_rotation import rotate_key
from engine.audit.keys import Ed25519Signer, VerifierKey
from engine.audit.verify import verify_log
from engine.audit.writer import AuditLimits
from tests.audit_logs import NAME, SIGNER, TickingClock, append, lines, make_log, note, open_log, signed

KEYS = [SIGNER, *(Ed25519Signer(NAME, bytes([n]) * 32) for n in (1, 2, 3))]
VKEYS = [key.verifier_key() for key in KEYS]


def rotate(directory: Path, old: Ed25519Signer, new: Ed25519Signer) -> Rotation:
    """Rotate with the clock of tests."""
    return asyncio.run(rotate_key(directory, old, new, clock=TickingClock()))


def extend(directory: Path, signer: Ed25519Signer, events: int = 1) -> None:
    """Open a log, append to it, and close it."""

    async def go() -> None:
        log = open_log(directory, signer=signer)
        for number in range(events):
            append(log, number)
        await log.close()

    asyncio.run(go())


def rotated(directory: Path, keys: list[Ed25519Signer] = KEYS[:3]) -> Path:
    """Return a log that was handed on along `keys`, with two events of work under each."""
    make_log(directory, 3, signer=keys[0])
    for old, new in itertools.pairwise(keys):
        rotate(directory, old, new)
        extend(directory, new, 2)
    return directory


def statement(seq: int, old: Ed25519Signer, new: Ed25519Signer) -> bytes:
    """Return a good statement."""
    return Rotation(seq=seq, old=old.verifier_key(), new=new.verifier_key()).signed(old, new)


def put_statement(directory: Path, seq: int, content: bytes) -> None:
    """Put bytes where the statement of event `seq` is kept."""
    (directory / "rotations").mkdir(exist_ok=True, parents=True)
    (directory / "rotations" / f"{seq:020d}.note").write_bytes(content)


def test_no_rotation_makes_a_log_that_nobody_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last that readers take is the last that is made."""
    for module in ("key_rotation", "key_ring"):
        monkeypatch.setattr(f"engine.audit.{module}.ROTATIONS_MAX", 2)
    rotated(tmp_path)
    with pytest.raises(AuditRotationError, match="cannot be once more"):
        rotate(tmp_path, KEYS[2], KEYS[3])
    extend(tmp_path, KEYS[2])
    assert verify_log(tmp_path, VKEYS[2]).ok


class FullDisk(SystemFiles):
    """A disk that says that it is full."""

    def free_bytes(self, path: Path) -> int:
        del path
        return 1_000


def test_a_rotation_on_a_full_disk_records_nothing(tmp_path: Path) -> None:
    """No `audit.stopped` comes after the statement's event, which has to be the last until its note is there."""
    make_log(tmp_path, 3)
    with pytest.raises(AuditUnavailableError, match="full"):
        asyncio.run(rotate_key(tmp_path, KEYS[0], KEYS[1], clock=TickingClock(), files=FullDisk()))
    assert len(lines(tmp_path)) == 3
    assert rotate(tmp_path, KEYS[0], KEYS[1]).seq == 3
    assert verify_log(tmp_path, VKEYS[1]).ok


def test_a_rotation_is_an_event_a_statement_and_a_checkpoint_of_both_keys(tmp_path: Path) -> None:
    """The event under the old key holds the statement, the folder its bytes, and both keys sign the same tree."""
    directory = make_log(tmp_path / "log", 3)
    made = rotate(directory, KEYS[0], KEYS[1])
    event = orjson.loads(lines(directory)[-1])
    kept = made.file(directory).read_bytes()
    assert (event["event_type"], event["actor"], event["target"], event["seq"]) == (KEY_ROTATED, "audit", NAME, 3)
    assert event["details"]["statement"].encode() == kept
    assert kept.decode().splitlines()[:5] == ["missiongate audit key rotation v1", NAME, "3", VKEYS[0], VKEYS[1]]
    checkpoint = (directory / "checkpoint").read_bytes()
    heads = [open_checkpoint(checkpoint, VerifierKey.parse(vkey)) for vkey in VKEYS[:2]]
    assert heads[0] == heads[1]
    assert heads[0].size == 4


def test_rotating_once_more_with_the_same_keys_changes_nothing(tmp_path: Path) -> None:
    """A rotation that is done is done: no second event, no other byte."""
    directory = make_log(tmp_path / "log", 3)
    rotate(directory, KEYS[0], KEYS[1])
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert rotate(directory, KEYS[0], KEYS[1]).seq == 3
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


def test_a_chain_of_three_keys_opens_what_each_has_signed(tmp_path: Path) -> None:
    """The newest key opens the log; the ring has every key, newest first, and opens checkpoints of each one's time."""
    directory = rotated(tmp_path / "log")
    ring = KeyRing.load(directory, VKEYS[2])
    assert ring.newest_first == (VKEYS[2], VKEYS[1], VKEYS[0])
    content = lines(directory)
    first, second = (made.seq for made in ring.rotations)
    for size, signer in ((1, KEYS[0]), (first + 1, KEYS[0]), (first + 1, KEYS[1]), (second + 1, KEYS[1])):
        assert ring.opens(signed(content[:size], signer)).size == size
    assert ring.opens_newest((directory / "checkpoint").read_bytes()).size == len(content)
    extend(directory, KEYS[2])


@pytest.mark.parametrize("trusted", range(3))
def test_the_verifier_finds_the_other_keys_from_any_of_them(tmp_path: Path, trusted: int) -> None:
    """Whoever has one key of the log verifies all of it; a thief of an old key is seen by whoever has any."""
    directory = rotated(tmp_path / "log")
    report = verify_log(directory, VKEYS[trusted])
    assert (report.ok, report.events) == (True, len(lines(directory)))
    (directory / "checkpoint").write_bytes(signed(lines(directory), KEYS[0]))
    assert verify_log(directory, VKEYS[trusted]).code == "checkpoint.superseded"


def test_a_key_counts_in_its_time_only(tmp_path: Path) -> None:
    """A stolen key that gave way signs nothing that comes later, and a key nothing from before it came."""
    directory = rotated(tmp_path / "log")
    ring = KeyRing.load(directory, VKEYS[2])
    content = lines(directory)
    first, second = (made.seq for made in ring.rotations)
    for size, signer in ((first + 2, KEYS[0]), (first, KEYS[1]), (second + 2, KEYS[1]), (second, KEYS[2])):
        with pytest.raises(CheckpointError, match="outside of the time"):
            ring.opens(signed(content[:size], signer))
    with pytest.raises(NoteUnsignedError):
        ring.opens(signed(content, KEYS[3]))
    with pytest.raises(CheckpointError):
        ring.opens_newest(signed(content[: first + 1], KEYS[0]))


def test_a_thief_of_an_old_key_cannot_go_on_with_the_log(tmp_path: Path) -> None:
    """A checkpoint over more events by the key that gave way is refused when the log is opened."""
    directory = rotated(tmp_path / "log", KEYS[:2])
    (directory / "checkpoint").write_bytes(signed(lines(directory), KEYS[0]))
    with pytest.raises(AuditTamperedError, match="outside of the time"):
        open_log(directory, signer=KEYS[1])


@pytest.mark.parametrize("which", [0, 1])
def test_a_key_that_gave_way_says_which_one_came(tmp_path: Path, which: int) -> None:
    """Opening with any earlier key names the key that came after it and the command."""
    directory = rotated(tmp_path / "log")
    with pytest.raises(AuditRotationError, match="keys rotate") as refused:
        open_log(directory, signer=KEYS[which])
    assert refused.value.code == "audit.rotation_unfinished"
    assert VKEYS[which + 1] in refused.value.message


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    """A key that the statements do not lead to is not the log's."""
    directory = rotated(tmp_path / "log")
    with pytest.raises(AuditTamperedError, match="handed on"):
        open_log(directory, signer=KEYS[3])


def test_without_its_statements_a_log_does_not_open_with_an_old_key(tmp_path: Path) -> None:
    """Taking the folder away does not bring a key back: the newest checkpoint is not that key's."""
    directory = rotated(tmp_path / "log", KEYS[:2])
    for path in (directory / "rotations").iterdir():
        path.unlink()
    with pytest.raises(AuditTamperedError):
        open_log(directory, signer=KEYS[0])


@pytest.mark.parametrize("at", range(5))
def test_a_statement_with_another_line_is_refused(at: int) -> None:
    """Each of the five lines is signed."""
    good = statement(7, KEYS[0], KEYS[1]).decode().split("\n")
    assert Rotation.parse("\n".join(good).encode()).seq == 7
    changed = [*good]
    changed[at] = {0: good[0] + " ", 1: "other", 2: "8", 3: VKEYS[2], 4: VKEYS[2]}[at]
    with pytest.raises(ValueError, match=r".+"):
        Rotation.parse("\n".join(changed).encode())


def test_no_byte_of_a_statement_can_be_another() -> None:
    """Every flipped bit of every byte, every cut and every addition is refused."""
    good = statement(7, KEYS[0], KEYS[1])
    forged = [good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :] for at in range(len(good)) for bit in (0, 5, 7)]
    forged += [good[:at] for at in range(len(good))] + [good + b"\n", good + b"x", b"\n" + good]
    accepted = [each for each in forged if _is_statement(each)]
    assert accepted == []


def _is_statement(content: bytes) -> bool:
    try:
        Rotation.parse(content)
    except ValueError:
        return False
    return True


def forged_statements() -> dict[str, bytes]:
    """Return statements of event 3 that are almost good."""
    good = Rotation(seq=3, old=VKEYS[0], new=VKEYS[1])
    other = Ed25519Signer("example.com/other", bytes(32))
    old_line, new_line = good.signed(KEYS[0], KEYS[1]).splitlines(keepends=True)[-2:]
    text = good.text() + b"\n"
    return {
        "the old key alone": text + old_line,
        "the new key alone": text + new_line,
        "the new key twice": text + new_line + new_line,
        "in the other order": text + new_line + old_line,
        "a third signature": text + old_line + new_line + new_line,
        "signed by a thief for the old key": good.signed(KEYS[3], KEYS[1]),
        "to itself": statement(3, KEYS[0], KEYS[0]),
        "another name": Rotation(seq=3, old=VKEYS[0], new=other.verifier_key()).signed(KEYS[0], other),
        "seq with a zero in front": note(text[:-1].replace(b"\n3\n", b"\n03\n"), KEYS[0]) + new_line,
        "nothing": b"",
    }


@pytest.mark.parametrize("name", forged_statements())
def test_a_forged_statement_is_refused(tmp_path: Path, name: str) -> None:
    """Whatever is not the statement that both keys have signed, in this order, keeps the log shut."""
    directory = rotated(tmp_path / "log", KEYS[:2])
    forged = forged_statements()[name]
    with pytest.raises(ValueError, match=r".+"):
        Rotation.parse(forged)
    put_statement(directory, 3, forged)
    with pytest.raises(AuditTamperedError):
        open_log(directory, signer=KEYS[1])


def test_statements_that_are_no_chain_are_refused(tmp_path: Path) -> None:
    """A link that is missing, doubled, moved or leads back makes the folder worthless."""
    chains: dict[str, list[tuple[int, bytes]]] = {
        "missing": [(1, statement(1, KEYS[0], KEYS[1])), (3, statement(3, KEYS[2], KEYS[3]))],
        "doubled": [(1, statement(1, KEYS[0], KEYS[3])), (3, statement(3, KEYS[0], KEYS[3]))],
        "moved": [(1, statement(2, KEYS[0], KEYS[3]))],
        "back": [(1, statement(1, KEYS[3], KEYS[0])), (2, statement(2, KEYS[0], KEYS[3]))],
    }
    for name, chain in chains.items():
        for seq, content in chain:
            put_statement(tmp_path / name, seq, content)
        with pytest.raises(AuditTamperedError):
            KeyRing.load(tmp_path / name, VKEYS[3])


@pytest.mark.parametrize("name", ["x", "1.note", f"{3:020d}.jsonl", f"{3:020d}.note.bak"])
def test_nothing_else_lies_among_the_statements(tmp_path: Path, name: str) -> None:
    """A foreign file is refused; one on its way to its name is not looked at."""
    (tmp_path / "rotations").mkdir()
    (tmp_path / "rotations" / f"{3:020d}.note.tmp").write_bytes(b"half")
    assert read_rotations(tmp_path) == ()
    (tmp_path / "rotations" / name).write_bytes(statement(3, KEYS[0], KEYS[1]))
    with pytest.raises(AuditTamperedError):
        read_rotations(tmp_path)


def test_a_rotation_by_another_key_is_refused(tmp_path: Path) -> None:
    """Who has not the log's key cannot hand it on, and no byte of the log changes."""
    directory = make_log(tmp_path / "log", 3)
    before = lines(directory)
    with pytest.raises(AuditTamperedError):
        rotate(directory, KEYS[3], KEYS[1])
    assert lines(directory) == before
    assert not (directory / "rotations").exists()


@pytest.mark.parametrize("new", [0, 1])
def test_a_log_is_never_handed_back(tmp_path: Path, new: int) -> None:
    """A key that has been the log's is not taken again, since its time would have two parts."""
    directory = rotated(tmp_path / "log")
    with pytest.raises(ValueError, match="has been"):
        rotate(directory, KEYS[2], KEYS[new])


def test_a_log_keeps_its_name(tmp_path: Path) -> None:
    """A key of another name is another log's."""
    directory = make_log(tmp_path / "log", 3)
    with pytest.raises(ValueError, match="one name"):
        rotate(directory, KEYS[0], Ed25519Signer("example.com/other", bytes(32)))


def test_a_log_that_is_written_is_not_handed_on(tmp_path: Path) -> None:
    """The gateway has to be stopped."""

    async def go() -> None:
        log = open_log(tmp_path / "log")
        with pytest.raises(AuditLockedError):
            await rotate_key(tmp_path / "log", KEYS[0], KEYS[1], clock=TickingClock())
        await log.close()

    asyncio.run(go())
    assert len(lines(tmp_path / "log")) == 1


class Broken(Ed25519Signer):
    """Signs something else than it is asked."""

    def sign(self, note_text: bytes) -> bytes:
        return super().sign(note_text + b"x")


class Unreachable(Ed25519Signer):
    """A signer behind a network that is gone."""

    def sign(self, note_text: bytes) -> bytes:
        raise ConnectionError(len(note_text))


@pytest.mark.parametrize("kind", [Broken, Unreachable])
def test_a_new_signer_that_does_not_work_gets_no_log(tmp_path: Path, kind: type[Ed25519Signer]) -> None:
    """What the new key signs is looked at before the log is handed on: afterwards nobody could write it."""
    directory = make_log(tmp_path / "log", 3)
    with pytest.raises(AuditUnavailableError):
        rotate(directory, KEYS[0], kind(NAME, bytes([1]) * 32))
    extend(directory, KEYS[0])
    assert KEY_ROTATED.encode() not in b"".join(lines(directory))


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("step", ["event", "statement"])
def test_a_rotation_that_was_broken_off_says_so(tmp_path: Path, step: str, which: int) -> None:
    """Between the event and the new checkpoint neither key opens the log, and the text says what to do."""
    directory = make_log(tmp_path / "log", 3)
    made = rotate(directory, KEYS[0], KEYS[1])
    (directory / "checkpoint").write_bytes(signed(lines(directory), KEYS[0]))
    if step == "event":
        made.file(directory).unlink()
    with pytest.raises(AuditRotationError, match="keys rotate") as refused:
        open_log(directory, signer=KEYS[which])
    assert VKEYS[1] in refused.value.message
    with pytest.raises(AuditRotationError):
        rotate(directory, KEYS[0], KEYS[2])
    assert rotate(directory, KEYS[0], KEYS[1]) == made
    extend(directory, KEYS[1])


def test_a_rotation_without_its_checkpoint_never_was(tmp_path: Path) -> None:
    """An event that no checkpoint covers is set aside like any other, and the old key goes on."""
    directory = make_log(tmp_path / "log", 3)
    rotate(directory, KEYS[0], KEYS[1]).file(directory).unlink()
    (directory / "checkpoint").write_bytes(signed(lines(directory)[:-1], KEYS[0]))
    extend(directory, KEYS[0])
    assert [orjson.loads(line)["event_type"] for line in lines(directory)][3:] == ["audit.recovered", "step.completed"]
    assert rotate(directory, KEYS[0], KEYS[1]).seq == 5
    extend(directory, KEYS[1])


def test_an_event_that_only_looks_like_a_rotation_changes_nothing(tmp_path: Path) -> None:
    """Whatever the text of the last event says, without a statement that both keys signed nothing is unfinished."""

    async def go() -> None:
        log = open_log(tmp_path / "log")
        log.append(KEY_ROTATED, actor="audit", target=NAME, details={"statement": "x"})
        await log.close()

    asyncio.run(go())
    extend(tmp_path / "log", KEYS[0])
    assert KeyRing.load(tmp_path / "log", VKEYS[0]).rotations == ()


def test_segments_that_earlier_keys_have_sealed_are_gone_on_from(tmp_path: Path) -> None:
    """A log whose every event ends a segment: seals are opened by the key of their time, and a break-off is seen."""
    limits = AuditLimits(segment_bytes_max=1)

    async def go() -> None:
        for old, new in itertools.pairwise(KEYS):
            log = open_log(tmp_path, signer=old, limits=limits)
            await log.durable(append(log, 1))
            await log.close()
            made = await rotate_key(tmp_path, old, new, clock=TickingClock(), limits=limits)
            statement = made.file(tmp_path).read_bytes()
            both = (tmp_path / "checkpoint").read_bytes()
            (tmp_path / "checkpoint").write_bytes(both.rpartition(b"\n\n")[0] + b"\n\n" + both.splitlines(True)[4])
            made.file(tmp_path).unlink()
            with pytest.raises(AuditRotationError):
                open_log(tmp_path, signer=old, limits=limits)
            made.file(tmp_path).write_bytes(statement)
            (tmp_path / "checkpoint").write_bytes(both)
        log = open_log(tmp_path, signer=KEYS[-1], limits=limits)
        assert [orjson.loads(line)["seq"] for line in log.read(0, 100)] == list(range(7))
        await log.close()

    asyncio.run(go())
    assert len(list((tmp_path / "seals").iterdir())) > 3


def test_a_ring_of_one_key_is_that_key(tmp_path: Path) -> None:
    """Where nothing was rotated, the signer's own key is all there is, of any size."""
    ring = KeyRing.load(tmp_path, VKEYS[0])
    head = Checkpoint(origin=NAME, size=10**9, root=bytes(32))
    assert ring.newest_first == (VKEYS[0],)
    assert ring.opens(note(head.text())) == ring.opens_newest(note(head.text())) == head
