"""People whose pseudonyms a test knows beforehand, and a look into a home for those that it does not."""

import base64
import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.clock import SystemClock
from gateway.commitments import Commitments
from gateway.folders import STORE_FILE
from gateway.identity import ANONYMOUS, KnownAs, Principal
from gateway.store.connection import connect
from gateway.store.master_keys import MasterKeys
from gateway.store.sealing import OWN, Sealer
from gateway.subjects.keys import SubjectKeys
from gateway.subjects.subjects import ANONYMOUS_NAME, Name, Subjects
from gateway.vault.master import MasterSource


def pseudonym(tenant: str, subject: str) -> str:
    """Return the name that `FixedSubjects` gives somebody."""
    told = hashlib.sha256(f"{len(tenant)}:{tenant}/{subject}".encode()).digest()
    return "s-" + base64.b32encode(told[:16]).decode().rstrip("=").lower()


def known(principal: Principal) -> Principal:
    """Return a principal as `FixedSubjects` knows it."""
    name = ANONYMOUS_NAME if principal.anonymous else pseudonym(principal.tenant, principal.subject)
    return replace(principal, known_as=KnownAs(name, Commitments(hashlib.sha256(name.encode()).digest())))


KNOWN_ANONYMOUS = known(ANONYMOUS)


class FixedSubjects(Subjects):
    """Knows everybody, by a pseudonym that follows from the name; what is erased is known no more."""

    def __init__(self) -> None:
        self.asked: list[Name] = []

    async def known(self, principal: Principal) -> Principal:
        self.asked.append(Name(principal.tenant, principal.subject))
        return known(principal)

    async def decider(self, name: Name) -> str:
        return pseudonym(name.tenant, name.subject)


def own(principal: Principal) -> Commitments:
    """Return what commits to values in events of a person that belong to no mission."""
    assert principal.known_as is not None
    return principal.known_as.commitments


async def commitments_of(store: Any, mission_id: str) -> Commitments:
    """Return what commits to the values of a mission in a store."""
    return Commitments(await store.mission_key(mission_id))


def names_in(home: Path) -> dict[str, str]:
    """Return who stands behind each pseudonym of a home, as `tenant/subject`."""
    with _opened(home) as (connection, _, keys):
        rows = connection.execute("SELECT pseudonym, sealed FROM subjects").fetchall()
        return {row["pseudonym"]: "/".join(keys.open_name(row["pseudonym"], row["sealed"])) for row in rows}


def own_in(home: Path, tenant: str, subject: str) -> Commitments:
    """Return what commits to values of a person of a home, as `own`."""
    with _opened(home) as (connection, _, keys):
        row = connection.execute("SELECT * FROM subjects WHERE tag = ?", (keys.tag(tenant, subject),)).fetchone()
        return Commitments(keys.open_key(row["pseudonym"], row["key"]))


def commitments_in(home: Path, mission_id: str) -> Commitments:
    """Return what commits to the values of a mission of a home."""
    with _opened(home) as (connection, sealer, _):
        return Commitments(sealer.key(connection, mission_id))


@contextmanager
def _opened(home: Path) -> Iterator[tuple[sqlite3.Connection, Sealer, SubjectKeys]]:
    sealer = Sealer(MasterKeys.of(MasterSource(home), SystemClock()))
    connection = connect(home / STORE_FILE, query="mode=ro")
    try:
        yield connection, sealer, SubjectKeys(sealer.key(connection, OWN))
    finally:
        connection.close()
