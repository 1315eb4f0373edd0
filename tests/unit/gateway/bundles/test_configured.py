import stat
from pathlib import Path
from typing import Any

import pytest

from gateway.bundles.configured import bundle_keys, bundle_of_home, configured_bundles, source_of
from gateway.bundles.sources import ArchiveSource, FolderSource
from gateway.bundles.url_source import UrlSource
from gateway.errors import ConfigurationError, PolicyInvalidError, StoreError
from gateway.policy_config import BundlesConfig, PolicyConfig
from tests.bundle_keys import pair
from tests.bundle_worlds import FakeEngine, FakeSource, ListAudit, ManualClock, World, archive_of, unacceptable


def config(source: str = "policies", **bundles: Any) -> PolicyConfig:
    return PolicyConfig.model_validate({"source": source, "bundles": bundles})


@pytest.mark.parametrize(
    ("source", "kind", "name"),
    [
        ("policies", FolderSource, "{home}/policies"),
        ("/etc/policies", FolderSource, "/etc/policies"),
        ("bundle.tar.gz", ArchiveSource, "{home}/bundle.tar.gz"),
        ("b.tgz", ArchiveSource, "{home}/b.tgz"),
        ("https://bundles.example/b.tar.gz?sig=x", UrlSource, "https://bundles.example/b.tar.gz"),
        ("http://bundles.example/b", UrlSource, "http://bundles.example/b"),
    ],
)
def test_a_source_is_told_by_its_form(tmp_path: Path, source: str, kind: type, name: str) -> None:
    """A URL, an archive, or else a folder, relative to the home."""
    made = source_of(tmp_path, config(source))
    assert type(made) is kind
    assert made.name == name.format(home=tmp_path)


@pytest.mark.parametrize("option", ["token_file", "ca_file"])
def test_what_only_a_server_needs_is_refused_elsewhere(tmp_path: Path, option: str) -> None:
    """A key that would do nothing is a mistake."""
    with pytest.raises(ConfigurationError, match=option):
        source_of(tmp_path, config(**{option: "x"}))


def test_keys_are_read_from_the_home(tmp_path: Path) -> None:
    """With their id, algorithm and scope."""
    (tmp_path / "k.pub").write_bytes(pair("ES256")[1])
    entry = {"id": "k1", "algorithm": "ES256", "file": "k.pub", "scope": "prod"}
    (key,) = bundle_keys(tmp_path, BundlesConfig.model_validate({"keys": [entry]}))
    assert (key.id, key.algorithm, key.scope) == ("k1", "ES256", "prod")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"id": "k", "algorithm": "ES256", "file": "none.pub"}], "keys.0.file: none.pub: No such file"),
        ([{"id": "k", "algorithm": "RS256", "file": "k.pub"}], "keys.0.file: k.pub is no key for RS256"),
        ([{"id": "k", "algorithm": "ES256", "file": "k.key"}], "keys.0.file: k.key is no public key"),
        ([{"id": "k", "algorithm": "ES256", "file": "k.pub"}] * 2, "keys.1.id: there are two keys 'k'"),
    ],
)
def test_a_key_that_is_none_stops_the_start(tmp_path: Path, entries: list[dict[str, str]], message: str) -> None:
    """The message names the entry."""
    (tmp_path / "k.pub").write_bytes(pair("ES256")[1])
    (tmp_path / "k.key").write_bytes(pair("ES256")[0])
    with pytest.raises(ConfigurationError, match=message) as caught:
        bundle_keys(tmp_path, BundlesConfig.model_validate({"keys": entries}))
    assert caught.value.code == "config.policy_key"


async def test_bundles_of_a_home_start(tmp_path: Path) -> None:
    """From an archive of the home; the history is the home's, and closed to others; the host's check is asked."""
    (tmp_path / "b.tar.gz").write_bytes(archive_of(3))
    more: dict[str, Any] = {"audit": ListAudit(), "clock": ManualClock(), "chance": lambda: 0.5}
    bundles = configured_bundles(tmp_path, config("b.tar.gz"), check=lambda _: None, **more)
    assert (await bundles.start()).revision == "r3"
    bundles.attach(FakeEngine())
    await bundles.run()  # a file is not polled, so this ends
    assert more["audit"].types == ["policy.bundle_published", "policy.bundle_activated"]
    assert stat.S_IMODE((tmp_path / "policy").stat().st_mode) == 0o700
    with pytest.raises(PolicyInvalidError, match="no profile fits"):
        await configured_bundles(tmp_path, config("b.tar.gz"), check=unacceptable, **more).start()


def test_a_server_without_keys_is_refused_by_the_configuration(tmp_path: Path) -> None:
    """Unless it is accepted by name."""
    more: dict[str, Any] = {
        "audit": ListAudit(),
        "clock": ManualClock(),
        "chance": lambda: 0.5,
        "check": lambda _: None,
    }
    with pytest.raises(ConfigurationError, match=r"policy\.bundles\.keys"):
        configured_bundles(tmp_path, config("https://bundles.example/b"), **more)
    assert configured_bundles(tmp_path, config("https://bundles.example/b", accept_unsigned_from_url=True), **more)


async def test_the_bundle_of_a_home_is_the_one_that_its_gateway_decides_by(tmp_path: Path) -> None:
    """What lies at the source; what a person has pinned goes before it. Looking changes nothing."""
    (tmp_path / "b.tar.gz").write_bytes(archive_of(3))
    local = config("b.tar.gz")
    assert bundle_of_home(tmp_path, local).revision == "r3"
    more: dict[str, Any] = {
        "audit": ListAudit(),
        "clock": ManualClock(),
        "chance": lambda: 0.5,
        "check": lambda _: None,
    }
    bundles = configured_bundles(tmp_path, local, **more)
    await bundles.start()
    bundles.attach(FakeEngine())
    (tmp_path / "b.tar.gz").write_bytes(archive_of(4))
    assert bundle_of_home(tmp_path, local).revision == "r4"
    await bundles.activate("r3", "default/ann")
    orphan = tmp_path / "policy" / "bundles" / "being-written.tmp"
    orphan.write_bytes(b"x")
    assert bundle_of_home(tmp_path, local).revision == "r3"
    assert orphan.exists()
    history = tmp_path / "policy" / "history.json"
    history.write_bytes(history.read_bytes()[1:])
    with pytest.raises(StoreError, match="damaged"):
        bundle_of_home(tmp_path, local)


async def test_the_bundle_of_a_home_with_a_server_is_the_last_good_one(tmp_path: Path) -> None:
    """Nobody is asked; verified all the same; none, where no gateway has had one."""
    remote = config("https://bundles.example/b.tar.gz", accept_unsigned_from_url=True)
    with pytest.raises(PolicyInvalidError, match="no gateway of this home"):
        bundle_of_home(tmp_path, remote)
    await World(tmp_path / "policy", FakeSource(archive_of(5))).started()
    assert bundle_of_home(tmp_path, remote).revision == "r5"
    (tmp_path / "k.pub").write_bytes(pair("ES256")[1])
    signed = config(remote.source, keys=[{"id": "k1", "algorithm": "ES256", "file": "k.pub"}])
    with pytest.raises(PolicyInvalidError, match="not signed"):
        bundle_of_home(tmp_path, signed)
