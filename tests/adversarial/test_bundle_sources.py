"""A source of bundles in an enemy's hands: whatever it sends, the gateway goes on asking, and says what was wrong."""

from pathlib import Path

import pytest

from gateway.bundles.bundles import Bundles
from gateway.errors import PolicyInvalidError
from gateway.policy.bundle import Bundle
from gateway.policy.bundle_files import write_archive
from tests.bundle_keys import key
from tests.bundle_worlds import World, archive_of, bundle_files, signed_world

BEYOND = b"1e99999999999999999999"  # more than even a Decimal has

UNEXPECTED = [
    {".signatures.json": b'{"signatures": [' + BEYOND + b"]}"},  # read before anything is verified
    {"data.json": b'{"gateway": {"config": {"n": ' + BEYOND + b"}}}"},
    {"data.json": b'{"gateway": {"config": {"n": 1e-99999999999999999999}}}'},
    {".manifest": b'{"revision": "r2", "roots": ["gateway", "\\ud800"]}'},
    {".manifest": b'{"revision": "r2", "roots": ["gateway"], "metadata": {"n": ' + BEYOND + b"}}"},
]


@pytest.mark.parametrize("change", UNEXPECTED)
def test_no_content_is_a_fault_of_ours(change: dict[str, bytes]) -> None:
    """A number that no Decimal holds, half a surrogate pair: a refusal with the file, as all else that is wrong."""
    files = bundle_files(2) | change
    with pytest.raises(PolicyInvalidError) as caught:
        Bundle.from_files(files, keys=[key()] if ".signatures.json" in change else None)
    assert caught.value.file in change


async def test_a_stranger_in_the_servers_place_does_not_end_the_questions(tmp_path: Path) -> None:
    """Nobody signed what it sends; the next good bundle is taken all the same."""
    world = signed_world(tmp_path / "policy")
    bundles = await world.started()
    for change in UNEXPECTED:
        world.source.archive = write_archive(bundle_files(2, sequence=2) | change)
        await bundles.poll()
        assert _failure(bundles).startswith("policy.")
    world.source.archive = archive_of(3, sequence=3, signed=True)
    await bundles.poll()
    assert bundles.current.revision == "r3"


async def test_a_bug_of_ours_does_not_end_the_questions(tmp_path: Path) -> None:
    """What nobody has thought of is a failure of that one question, and no silence ever after."""

    def check(bundle: Bundle) -> None:
        if bundle.revision == "r2":
            raise KeyError("n")

    world: World = signed_world(tmp_path / "policy", check=check)
    bundles = await world.started()
    world.source.archive = archive_of(2, sequence=2, signed=True)
    await bundles.poll()
    assert (_failure(bundles), bundles.current.revision) == ("internal", "r1")
    world.source.archive = archive_of(3, sequence=3, signed=True)
    await bundles.poll()
    assert bundles.current.revision == "r3"


def _failure(bundles: Bundles) -> str:
    failure = bundles.status().failure
    return "" if failure is None else failure.code
