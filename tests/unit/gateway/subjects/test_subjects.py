"""Pseudonyms: durable before they are used, stable, random, and nobody's once they are erased."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import FaultError, NotFoundError, StoreError
from gateway.identity import ANONYMOUS, Principal, actor, known_as
from gateway.store.store import Store
from gateway.subjects.keys import SubjectKeys
from gateway.subjects.subjects import PSEUDONYM, Name, Subjects
from tests.payload_keys import MASTERS
from tests.unit.gateway.store.store_worlds import TickingClock

KEYS = SubjectKeys(bytes(32))
ANN = Principal(subject="ann.canary@example.org", tenant="acme", roles=("submitter",))
NAME = Name(ANN.tenant, ANN.subject)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store.open(tmp_path / "missions.db", clock=TickingClock(), masters=MASTERS)
    yield store
    await store.close()


def bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def erase(subjects: Subjects, store: Store, name: Name = NAME) -> str:
    """Erase a person who has submitted nothing."""
    pseudonym = await subjects.find(name)
    assert pseudonym is not None
    await store.subjects.begin_erasure(name.tenant, name.subject, pseudonym, "gateway", "")
    await store.subjects.detach(pseudonym)
    subjects.forget()
    await store.subjects.forget_name(name.tenant, name.subject, pseudonym)
    await store.subjects.scrub()
    await store.subjects.finish_erasure(pseudonym)
    return pseudonym


async def test_a_pseudonym_is_random_and_says_nothing(store: Store) -> None:
    """128 bits in base32; whoever is asked for twice has one, and it is no function of the name."""
    subjects = Subjects(store.subjects, KEYS)
    first = actor(await subjects.known(ANN))
    assert PSEUDONYM.fullmatch(first)
    assert actor(await subjects.known(ANN)) == first
    await erase(subjects, store)
    assert actor(await subjects.known(ANN)) != first


async def test_it_is_in_the_store_before_it_is_told(store: Store) -> None:
    """Who has it back has it for good: another process, which knows nothing, finds the same, and the same key."""
    known = await Subjects(store.subjects, KEYS).known(ANN)
    again = await Subjects(store.subjects, KEYS).known(ANN)
    assert actor(known) == actor(again)
    assert known_as(known).commitments.of("x") == known_as(again).commitments.of("x")
    assert await Subjects(store.subjects, KEYS).name_of(actor(known)) == NAME


async def test_roles_make_nobody_another(store: Store) -> None:
    """A person with another token is the same person; the principal keeps what else it says."""
    subjects = Subjects(store.subjects, KEYS)
    other = Principal(subject=ANN.subject, tenant=ANN.tenant, roles=("auditor",))
    known = await subjects.known(other)
    assert (actor(known), known.roles) == (actor(await subjects.known(ANN)), ("auditor",))
    assert known == other  # a pseudonym is no part of who somebody is


async def test_two_first_calls_at_once_are_one_person(store: Store) -> None:
    """Both look before either has written."""
    subjects = Subjects(store.subjects, KEYS)
    known = await asyncio.gather(*(subjects.known(ANN) for _ in range(8)))
    assert len({actor(each) for each in known}) == 1


async def test_no_tenant_reaches_into_another(store: Store) -> None:
    """`a/b` and `c` are not `a` and `b/c`; a token's `anonymous` is not a stranger."""
    subjects = Subjects(store.subjects, KEYS)
    people = [
        Principal(subject="c", tenant="a/b"),
        Principal(subject="b/c", tenant="a"),
        Principal(subject="c", tenant="a"),
        Principal(subject="anonymous", tenant="default"),
        ANONYMOUS,
    ]
    names = [actor(await subjects.known(each)) for each in people]
    assert len(set(names)) == len(names)
    assert await subjects.name_of(names[0]) == Name("a/b", "c")
    assert await subjects.find(Name("a", "b/c")) == names[1]
    assert await subjects.find(Name("a/b/c", "")) is None


async def test_strangers_have_one_name_and_a_key(store: Store) -> None:
    """`anonymous`, whoever it is; the key outlives the process, so that commitments of one log can be compared."""
    first = await Subjects(store.subjects, KEYS).known(ANONYMOUS)
    second = await Subjects(store.subjects, KEYS).known(ANONYMOUS)
    assert (actor(first), actor(second)) == ("anonymous", "anonymous")
    assert known_as(first).commitments.of(1) == known_as(second).commitments.of(1)


async def test_each_person_has_a_key_of_its_own(store: Store) -> None:
    """The same value of two people has two commitments, and so has that of somebody who was erased and came again."""
    subjects = Subjects(store.subjects, KEYS)
    bob = Principal(subject="bob", tenant="acme")
    told = [known_as(await subjects.known(each)).commitments.of("x") for each in (ANN, bob)]
    await erase(subjects, store)
    told.append(known_as(await subjects.known(ANN)).commitments.of("x"))
    assert len(set(told)) == 3


def test_nobody_is_recorded_by_name() -> None:
    """A principal that was not looked up is a fault, whatever would be recorded of it."""
    with pytest.raises(FaultError) as caught:
        actor(ANN)
    assert caught.value.code == "subject.unknown"
    assert ANN.subject not in str(caught.value)


async def test_an_erased_pseudonym_is_nobodys(store: Store, tmp_path: Path) -> None:
    """Neither name nor key is in any file, sealed or not, and who has the pseudonym finds nobody."""
    subjects = Subjects(store.subjects, KEYS)
    record = await store.subjects.by_pseudonym(actor(await subjects.known(ANN)))
    await store.subjects.scrub()
    assert record.sealed in bytes_in(tmp_path)
    pseudonym = await erase(subjects, store)
    with pytest.raises(NotFoundError):
        await subjects.name_of(pseudonym)
    assert await subjects.find(NAME) is None
    files = bytes_in(tmp_path)
    assert record.sealed not in files
    assert record.key not in files
    assert ANN.subject.encode() not in files


async def test_no_name_is_in_the_clear(store: Store, tmp_path: Path) -> None:
    """Who has the file alone reads nobody in it, also while they are there."""
    await Subjects(store.subjects, KEYS).known(ANN)
    await store.subjects.scrub()
    assert ANN.subject.encode() not in bytes_in(tmp_path)
    with pytest.raises(StoreError):
        await Subjects(store.subjects, SubjectKeys(bytes([1]) * 32)).name_of(
            actor(await Subjects(store.subjects, KEYS).known(ANN))
        )


async def test_what_is_remembered_has_a_bound(store: Store) -> None:
    """People who come and go do not fill the memory; they are found again in the store."""
    subjects = Subjects(store.subjects, KEYS, cached_max=2)
    names = [actor(await subjects.known(Principal(subject=f"p{n}", tenant="t"))) for n in range(5)]
    assert len(subjects._cache) == 2
    assert [actor(await subjects.known(Principal(subject=f"p{n}", tenant="t"))) for n in range(5)] == names


async def test_an_erasure_while_somebody_is_looked_up_is_not_forgotten(store: Store) -> None:
    """What was read before it does not stay in memory after it."""
    subjects = Subjects(store.subjects, KEYS)
    before = actor(await subjects.known(ANN))
    subjects.forget()
    looking = asyncio.ensure_future(subjects.known(ANN))
    await asyncio.sleep(0)
    subjects.forget()
    assert actor(await looking) == before  # a call that was under way
    assert len(subjects._cache) == 0


async def test_a_decider_who_was_erased_stays_nobody(store: Store) -> None:
    """Where a decision has a pseudonym in the place of a name, that is who it was, and no new person."""
    subjects = Subjects(store.subjects, KEYS)
    await subjects.known(ANN)
    pseudonym = await erase(subjects, store)
    assert await subjects.decider(Name("acme", pseudonym)) == pseudonym
    assert await subjects.find(Name("acme", pseudonym)) is None
    assert PSEUDONYM.fullmatch(await subjects.decider(Name("acme", "bob")))
