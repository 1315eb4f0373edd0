"""Records at rest: what is written opens again, nothing of it is in the clear, and nothing that was changed opens."""

import asyncio
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.clock import SystemClock
from gateway.decisions.entry import decision_id
from gateway.decisions.keys import KEY_FILE, RecordKeys
from gateway.decisions.records import Records, Unreadable
from gateway.decisions.rows import Row, document_place, pack
from gateway.errors import ConfigurationError, EngineError, NotFoundError, SecretError, StoreError
from gateway.events import digest
from gateway.policy.decision import Decision, denied
from gateway.policy.obligations import ApprovalDemand
from gateway.vault.keeper import Keeper
from gateway.vault.master import KEY_FILE as SECRETS_KEY_FILE
from gateway.vault.master import MasterSource, write_key
from gateway.vault.vault_file import VAULT_FILE
from tests.decision_records import DIGEST, NO, YES, Answers, Home
from tests.policy_documents import effect, mission, rpc, step

DOCUMENT = step("create_file", {"path": "out/x", "content": "very private"})
FULL = Decision(
    allow=True,
    bundle=DIGEST,
    constraints={"fuel_max": 5},
    profile="fast",
    require_approval=ApprovalDemand(approvers=("lead",), expires_in_seconds=60),
    redact=("/output/token",),
    labels={"reviewed": "no"},
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@contextmanager
def edited(home: Home) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(home.database)) as connection:
        yield connection
        connection.commit()


async def record(home: Home, *documents: bytes, answer: Decision = YES, **settings: Any) -> list[Decision]:
    async with home.open(**settings) as records:
        policy = records.around(Answers(lambda _: answer))
        return [await policy.decide("step", document) for document in documents]


def test_ids_sort_by_time_and_are_uuids_of_version_7() -> None:
    """RFC 9562: 48 bits of milliseconds, the version, the variant; 74 bits nobody can guess."""
    ids = [decision_id(milliseconds) for milliseconds in (0, 1, 2**47, 2**48 - 1)]
    assert ids == sorted(ids)
    assert {(len(each), each[12]) for each in ids} == {(32, "7")}
    assert {each[16] for each in ids} <= set("89ab")
    assert int(ids[2][:12], 16) == 2**47
    assert len({decision_id(5) for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize("answer", [YES, NO, FULL, denied("policy.timeout", "late", bundle=DIGEST)])
async def test_what_was_decided_is_read_again(home: Home, answer: Decision) -> None:
    """Document byte for byte, answer, time and place; the decision that was told has the id."""
    (told,) = await record(home, DOCUMENT, answer=answer)
    (found,) = home.opened()
    assert (found.id, found.document, found.digest) == (told.id, DOCUMENT, digest(DOCUMENT))
    assert (found.decision, told) == (answer, answer)
    assert (found.entrypoint, found.mission_id) == ("step", "m1")
    assert abs(datetime.fromisoformat(found.at) - SystemClock().now()) < timedelta(minutes=5)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"no JSON",
        b"\xff\xfe\x00",
        b'"\\u0000 \\ud800"',
        b"[" * 5_000 + b"]" * 5_000,
        orjson.dumps(
            {"principal": {"subject": "a\u0000b\n", "tenant": 5}, "mission": [], "resource": {"mission_id": 7}}
        ),
        b'{"principal":{"subject":"\\ud800"},"n":' + b"9" * 400 + b"}",
        b'{"n":' + b"9" * 9_000 + b',"f":1e999}',
        mission(2_000),
        effect("create_file", "file.write", {"path": "x", "content": "\u2028"}),
        rpc("gateway.v1.MissionService", "GetMission", mission_id="m9"),
    ],
    ids=lambda document: document[:12].decode("latin-1"),
)
async def test_any_bytes_are_recorded_as_they_are(home: Home, document: bytes) -> None:
    """NUL, huge numbers, half characters, deep nesting: what policy was asked can be read, and the log has a line."""
    log = home.path / "log.ndjson"
    await record(home, document, log_file=log, log_url="http://127.0.0.1:9")
    (found,) = home.opened()
    assert found.document == document
    (line,) = log.read_bytes().splitlines()
    assert orjson.loads(line)["decision_id"] == found.id


async def test_nothing_of_a_document_is_in_the_clear(home: Home) -> None:
    """Neither what a client wrote nor who it was; the file is its owner's alone."""
    await record(home, DOCUMENT, answer=NO, log_url="http://127.0.0.1:9")
    raw = b"".join(path.read_bytes() for path in home.path.glob("decisions.db*"))
    for word in (b"very private", b"out/x", b"ann", b"nightly", b"path: closed"):
        assert word not in raw
    assert b"step.path_closed" in raw
    assert stat.S_IMODE(home.database.stat().st_mode) == 0o600


async def test_a_document_that_is_asked_again_is_stored_once(home: Home) -> None:
    """Each decision has its own row, with the same document."""
    told = await record(home, *[DOCUMENT] * 5, step("transform", {}))
    assert [each.id for each in home.opened()] == [each.id for each in told]
    with edited(home) as connection:
        assert connection.execute("SELECT count(*) FROM documents").fetchone() == (2,)


@pytest.mark.parametrize(("recording", "count"), [("all", 2), ("denied", 1), ("none", 0)])
async def test_what_is_recorded_is_configured(home: Home, recording: str, count: int) -> None:
    """All, what was denied, or nothing; the log has all in any case."""
    log = home.path / "log.ndjson"
    async with home.open(record=recording, log_file=log) as records:
        policy = records.around(Answers(lambda document: NO if b"closed" in document else YES))
        await policy.decide("step", DOCUMENT)
        await policy.decide("step", step("create_file", {"path": "closed"}))
    assert len(home.opened()) == count
    assert len(home.opened(denied_only=True)) == min(count, 1)
    assert len(log.read_bytes().splitlines()) == 2


async def test_records_can_be_looked_for(home: Home) -> None:
    """By time, entrypoint, mission and id."""
    async with home.open() as records:
        policy = records.around(Answers())
        first = await policy.decide("step", DOCUMENT)
        await policy.decide("rpc", rpc("s", "m", mission_id="m2"))
    step_, call = home.opened()
    assert home.opened(since=call.at) == [call]
    assert home.opened(since="9999") == []
    assert home.opened(entrypoint="rpc") == [call]
    assert home.opened(mission_id="m1") == [step_]
    with Records.open(home.path, home.source, SystemClock()) as reader:
        assert reader.get(first.id) == step_
        for unknown in ("f" * 32, "", "x", first.id.upper() + "Z"):
            with pytest.raises(NotFoundError) as missing:
                reader.get(unknown)
            assert missing.value.code == "decision.not_found"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE decisions SET allow = 1",
        "UPDATE decisions SET codes = '[]'",
        "UPDATE decisions SET at = '2020-01-01T00:00:00.000000Z'",
        "UPDATE decisions SET bundle = 'sha256:00'",
        "UPDATE decisions SET entrypoint = 'effect'",
        "UPDATE decisions SET mission_id = 'm2'",
        "UPDATE decisions SET mission_id = NULL",
        "UPDATE decisions SET subject = x'00'",
        "UPDATE decisions SET id = substr(id, 1, 31) || '0'",
        "UPDATE decisions SET day = day + 1",
        "UPDATE decisions SET answer = zeroblob(40)",
        "UPDATE decisions SET answer = x''",
        "UPDATE documents SET sealed = zeroblob(40)",
        "UPDATE documents SET sealed = substr(sealed, 1, length(sealed) - 1)",
        "UPDATE documents SET digest = 'sha256:00'",
        "UPDATE documents SET day = day + 1",
        "DELETE FROM documents",
    ],
)
async def test_nothing_that_was_changed_opens(home: Home, change: str) -> None:
    """Every column that is read is bound to the sealed answer; a row that does not open is told, not left out."""
    (told,) = await record(home, DOCUMENT, answer=NO)
    if told.id.endswith("0") and "substr(id" in change:
        change = change.replace("'0'", "'1'")
    with edited(home) as connection:
        connection.execute(change)
    (found,) = home.read()
    assert isinstance(found, Unreadable)
    assert found.why


async def test_who_has_the_file_alone_cannot_try_what_was_asked(home: Home) -> None:
    """A document has few unknown words, a name among them: its plain digest would tell whether a guess is right."""
    await record(home, DOCUMENT)
    guess = digest(DOCUMENT).removeprefix("sha256:").encode()
    assert not [path for path in home.path.rglob("*") if path.is_file() and guess in path.read_bytes()]


async def test_a_plain_digest_of_a_release_before_is_read(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until its day is deleted."""
    with monkeypatch.context() as before:
        before.setattr(RecordKeys, "digest", lambda _, document: digest(document))
        await record(home, DOCUMENT)
    (found,) = home.opened()
    assert (found.document, found.digest) == (DOCUMENT, digest(DOCUMENT))


async def resealed(home: Home, what: str, value: bytes) -> list[Any]:
    """Return what is read where somebody with the key has sealed another document or answer into a row."""
    await record(home, DOCUMENT)
    keys = RecordKeys.of(home.source, SystemClock())
    with edited(home) as connection:
        connection.row_factory = sqlite3.Row
        one = connection.execute("SELECT * FROM decisions, documents WHERE documents.id = document_id").fetchone()
        if what == "document":
            place, packed = document_place(one["digest"]), pack(value)
            connection.execute("UPDATE documents SET sealed = ?", (keys.seal(one["day"], packed, place),))
        else:
            names = ("at", "entrypoint", "subject", "mission_id", "bundle", "codes")
            columns = {name: one[name] for name in names}
            row = Row(id=one[1], day=one["day"], allow=True, document=one["digest"], **columns)
            connection.execute("UPDATE decisions SET answer = ?", (keys.seal(row.day, value, row.place),))
    return home.read()


async def test_a_document_is_held_to_its_digest(home: Home) -> None:
    """Another one that was sealed in its place is not what policy was asked."""
    (found,) = await resealed(home, "document", b"{}")
    assert (type(found), found.why) == (Unreadable, "its document is another")
    (home.path / "decisions.db").unlink()
    (found,) = await resealed(home, "document", DOCUMENT)
    assert found.document == DOCUMENT


@pytest.mark.parametrize(
    "answer", [b'{"allow":true,"reasons":[],"new":1}', b'{"allow":false,"reasons":[]}', b"garbage"]
)
async def test_an_answer_of_another_version_is_told(home: Home, answer: bytes) -> None:
    """It is not taken for a deny."""
    (found,) = await resealed(home, "answer", answer)
    assert (type(found), found.why) == (Unreadable, "its answer is not of this version")


async def test_a_damaged_tree_is_not_walked_in_circles(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that come again are the end of it."""
    await record(home, DOCUMENT, DOCUMENT)
    real = Records._page
    monkeypatch.setattr(Records, "_page", lambda self, query, _: real(self, query, (-1,)))
    with pytest.raises(StoreError) as damaged:
        home.read()
    assert damaged.value.code == "store.corrupt"


async def test_documents_of_two_decisions_cannot_be_exchanged(home: Home) -> None:
    """Each opens by itself, and neither in the place of the other."""
    await record(home, DOCUMENT, step("transform", {}))
    with edited(home) as connection:
        connection.execute("UPDATE decisions SET document_id = 3 - document_id")
    assert [type(each) for each in home.read()] == [Unreadable, Unreadable]


async def test_the_oldest_go_first(home: Home) -> None:
    """What is over a number, and what is too old; a document goes with the last decision that refers to it."""
    async with home.open(kept_max=1_000) as records:
        policy = records.around(Answers())
        for number in range(1_200):
            await policy.decide("step", step("transform", {"n": number // 2}))
        await records.recorder.settled()
        assert await records.recorder.prune() == 200
        await policy.decide("step", step("transform", {"n": 0}))
    found = home.opened()
    assert len(found) == 1_001
    assert orjson.loads(found[0].document)["parameters"] == {"n": 100}
    with edited(home) as connection:
        assert connection.execute("SELECT count(*) FROM documents").fetchone() == (501,)
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("UPDATE decisions SET at = '2020-01-01T00:00:00.000000Z' WHERE seq % 2")
    async with home.open(kept_max=100_000) as records:
        await records.recorder.prune()
    assert all(each.at > "2021" for each in home.read())
    assert 400 < len(home.read()) < 600


async def test_a_mission_a_person_and_a_decision_can_be_erased(home: Home) -> None:
    """With their documents and their events; nothing of them stands in the file afterwards."""
    other = orjson.loads(DOCUMENT)
    other["principal"]["subject"], other["mission"]["id"] = "bob", "m7"
    async with home.open(log_url="http://127.0.0.1:9") as records:
        policy = records.around(Answers())
        for number in range(600):
            await policy.decide("step", step("transform", {"n": number}))
        bobs = await policy.decide("step", orjson.dumps(other))
        call = await policy.decide("rpc", rpc("s", "m"))
        await records.recorder.settled()
        assert await records.recorder.erase_mission("m1") == 600
        await records.recorder.settled()
        assert {each.id for each in home.opened()} == {bobs.id, call.id}
        assert await records.recorder.erase_subject("red", "bob") == 1
        assert await records.recorder.erase_subject("blue", "ann") == 0
        assert await records.recorder.erase(call.id) == 1
        again = await policy.decide("step", step("transform", {"n": 1}))
    assert [each.id for each in home.opened()] == [again.id]
    with edited(home) as connection:
        assert connection.execute("SELECT count(*) FROM documents").fetchone() == (1,)
        assert connection.execute("SELECT id FROM outbox").fetchall() == [(again.id,)]


async def test_the_vault_is_another_matter(home: Home) -> None:
    """Rotated, damaged or without its key: records have a key of their own, and go on."""
    keeper = Keeper(home.source, SystemClock())
    keeper.set("acme", "A", bytearray(b"a value of some length"))
    await record(home, DOCUMENT)
    keeper.rotate()
    await record(home, DOCUMENT)
    (home.path / "secrets" / VAULT_FILE).write_bytes(b"damaged")
    (home.path / SECRETS_KEY_FILE).unlink()
    await record(home, DOCUMENT)
    assert [each.document for each in home.opened()] == [DOCUMENT] * 3


async def test_another_key_is_refused(home: Home) -> None:
    """With another key nothing is recorded beside what it could not read, and nothing is read."""
    await record(home, DOCUMENT)
    (home.path / KEY_FILE).unlink()
    write_key(home.path / KEY_FILE, os.urandom(32))
    with pytest.raises(StoreError) as refused:
        await record(home, DOCUMENT)
    assert refused.value.code == "decisions.other_key"
    with pytest.raises(StoreError) as unread:
        home.read()
    assert unread.value.code == "decisions.other_key"


@pytest.mark.parametrize("damage", ["gone", "garbage", "open to others"])
async def test_without_a_key_nothing_begins(home: Home, damage: str) -> None:
    """No record in the clear, no new key beside what an old one has sealed, no decision."""
    await record(home, DOCUMENT)
    key = home.path / KEY_FILE
    if damage == "gone":
        key.unlink()
    elif damage == "garbage":
        key.write_bytes(b"garbage")
    else:
        key.chmod(0o644)
    before = home.database.read_bytes()
    for begin in (lambda: record(home, DOCUMENT), lambda: asyncio.to_thread(home.read)):
        with pytest.raises(SecretError) as missing:
            await begin()
        assert missing.value.code == "secret.key_unreadable"
    assert (home.database.read_bytes(), key.exists()) == (before, damage != "gone")


def with_passphrase(home: Home, phrase: bytes, name: str = "passphrase") -> Path:
    path = home.path / name
    path.write_bytes(phrase)
    path.chmod(0o600)
    home.source = MasterSource(home.path, path)
    return path


async def test_a_passphrase_leaves_no_key_in_the_home(home: Home) -> None:
    """The key comes from the vault, which is made; a new passphrase opens what the old one has sealed."""
    with_passphrase(home, b"a passphrase of some length")
    await record(home, DOCUMENT)
    assert not (home.path / KEY_FILE).exists()
    keeper = Keeper(home.source, SystemClock())
    following = with_passphrase(home, b"another passphrase of a length", "following")
    keeper.rotate(following)
    await record(home, DOCUMENT)
    assert [each.document for each in home.opened()] == [DOCUMENT] * 2


async def test_without_the_passphrase_nothing_begins(home: Home) -> None:
    """Missing, short or another: no record in the clear, no file, no decision."""
    home.source = MasterSource(home.path, home.path / "passphrase")
    with pytest.raises(SecretError) as missing:
        await record(home, DOCUMENT)
    assert missing.value.code == "secret.key_unreadable"
    with_passphrase(home, b"short")
    with pytest.raises(EngineError) as weak:
        await record(home, DOCUMENT)
    assert weak.value.code == "secret.weak_passphrase"
    assert not home.database.exists()
    with_passphrase(home, b"a passphrase of some length")
    await record(home, DOCUMENT)
    with_passphrase(home, b"another one of some length")
    with pytest.raises(SecretError) as other:
        await record(home, DOCUMENT)
    assert other.value.code == "secret.damaged"


async def test_two_gateways_do_not_write_at_once(home: Home) -> None:
    """The second is refused before it decides anything."""
    async with home.open():
        with pytest.raises(StoreError) as locked:
            await record(home, DOCUMENT)
    assert locked.value.code == "store.locked"


async def test_files_of_others_are_refused(home: Home) -> None:
    """Another program's database, a newer version, no database at all; each is left as it was."""
    with pytest.raises(NotFoundError) as none:
        home.read()
    assert none.value.code == "decisions.none"
    await record(home, DOCUMENT)
    home.database.unlink()
    with edited(home) as connection:
        connection.execute("CREATE TABLE foreign_ (a)")
    for code, change in (
        ("store.foreign", None),
        ("store.corrupt", b"no database, and longer than its header is " * 9),
    ):
        if change is not None:
            home.database.write_bytes(change)
        before = home.database.read_bytes()
        with pytest.raises(StoreError) as refused:
            await record(home, DOCUMENT)
        assert (refused.value.code, home.database.read_bytes()) == (code, before)
    home.database.unlink()
    await record(home, DOCUMENT)
    with edited(home) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(StoreError) as newer:
        await record(home, DOCUMENT)
    assert newer.value.code == "store.schema_newer"


async def test_a_log_that_cannot_be_written_is_told_at_the_start(home: Home) -> None:
    """And the lock is let go of."""
    with pytest.raises(ConfigurationError):
        await record(home, DOCUMENT, log_file=home.path / "none" / "log")
    await record(home, DOCUMENT)
    assert len(home.opened()) == 1
