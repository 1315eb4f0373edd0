"""Makes bundles out of the configuration: the source, the keys, the history in the home."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.clock import Clock
from gateway.bundles.acceptance import Acceptance
from gateway.bundles.bundles import Bundles
from gateway.bundles.history import History
from gateway.bundles.parts import BundlesParts
from gateway.bundles.sources import ArchiveSource, BundleSource, FolderSource
from gateway.errors import ConfigurationError, PolicyInvalidError
from gateway.events import Audit
from gateway.policy.bundle import Bundle
from gateway.policy.bundle_files import read_path
from gateway.policy_config import BundlesConfig, PolicyConfig

if TYPE_CHECKING:
    from gateway.policy.signatures import BundleKey


HISTORY_FOLDER: Final = "policy"  # in the home
_KEY_BYTES_MAX: Final = 64 * 1024
_ARCHIVES: Final = (".tar.gz", ".tgz")


def configured_bundles(
    home: Path,
    config: PolicyConfig,
    *,
    audit: Audit,
    clock: Clock,
    chance: Callable[[], float],
    check: Callable[[Bundle], None],
) -> Bundles:
    """Return the bundles of a home, which have not started; blocks.

    Args:
        home: paths of the configuration are relative to it.
        config: `[policy]`.
        audit: the log, open.
        clock: the gateway's.
        chance: from 0 to 1, so that gateways do not ask in step.
        check: what the host needs of a bundle beside; raises PolicyInvalidError.

    Raises:
        ConfigurationError: `config.policy_source`, `config.policy_key`.
        StoreError: `policy.history`.
    """
    bundles = config.bundles
    return Bundles(
        BundlesParts(
            source=source_of(home, config),
            acceptance=acceptance_of(home, config, check),
            history=History.open(home / HISTORY_FOLDER, kept_max=bundles.kept_max),
            audit=audit,
            clock=clock,
            chance=chance,
            poll_seconds=bundles.poll_seconds,
            stale_seconds_max=bundles.stale_seconds_max,
        )
    )


def bundle_of_home(home: Path, config: PolicyConfig) -> Bundle:
    """Return the bundle that a gateway of this home decides by, without one: for `plan` and the like; blocks.

    It is what a person has pinned there, or else what lies at the source, or for a server what was last in force.

    Raises:
        PolicyInvalidError: it is not accepted; `policy.no_bundle`: a server's, and no gateway has fetched it yet.
        ConfigurationError: `config.policy_source`, `config.policy_key`.
        StoreError: `policy.history`.
    """
    source, acceptance = source_of(home, config), acceptance_of(home, config, lambda _: None)
    history = History.glance(home / HISTORY_FOLDER)
    active = history.state.active if history is not None and (source.remote or history.state.pinned) else None
    if history is not None and active is not None:
        return acceptance.read(history.archive(history.find(active)))
    if source.remote:
        message = f"no gateway of this home has had a bundle of {source.name} yet"
        raise PolicyInvalidError(message, code="policy.no_bundle")
    return Bundle.from_files(read_path(home / config.source), engine=config.engine, keys=acceptance.keys)


def acceptance_of(home: Path, config: PolicyConfig, check: Callable[[Bundle], None]) -> Acceptance:
    """Return what a bundle has to be in this home.

    Raises:
        ConfigurationError: `config.policy_key`.
    """
    return Acceptance(
        engine=config.engine,
        keys=bundle_keys(home, config.bundles),
        unsigned_from_url=config.bundles.accept_unsigned_from_url,
        check=check,
    )


def source_of(home: Path, config: PolicyConfig) -> BundleSource:
    """Return where bundles come from: a URL, an archive by its name, or else a folder.

    Raises:
        ConfigurationError: `config.policy_source`.
    """
    source, bundles = config.source, config.bundles
    if source.startswith(("http:", "https:")):
        from gateway.bundles.url_source import UrlSource  # noqa: PLC0415 - a client of HTTP takes 200 ms to import

        return UrlSource(source, ca_file=_path(home, bundles.ca_file), token_file=_path(home, bundles.token_file))
    for option in ("ca_file", "token_file"):
        if getattr(bundles, option):
            message = f"policy.bundles.{option}: is for a source that is a URL"
            raise ConfigurationError(message, code="config.policy_source")
    return ArchiveSource(home / source) if source.endswith(_ARCHIVES) else FolderSource(home / source)


def bundle_keys(home: Path, config: BundlesConfig) -> "tuple[BundleKey, ...]":
    """Return the public keys that bundles may be signed with.

    Raises:
        ConfigurationError: `config.policy_key`: two of one id, a file that cannot be read, no such key in it.
    """
    if not config.keys:
        return ()
    from gateway.policy.signatures import BundleKey  # noqa: PLC0415 - tokens take 100 ms of every start to import

    keys: list[BundleKey] = []
    for at, each in enumerate(config.keys):
        where = f"policy.bundles.keys.{at}"
        if any(key.id == each.id for key in keys):
            raise ConfigurationError(f"{where}.id: there are two keys {each.id!r}", code="config.policy_key")
        try:
            with (home / each.file).open("rb") as file:
                pem = file.read(_KEY_BYTES_MAX)
            keys.append(BundleKey.from_pem(pem, id=each.id, algorithm=each.algorithm, scope=each.scope))
        except OSError as error:
            message = f"{where}.file: {each.file}: {error.strerror or 'cannot be read'}"
            raise ConfigurationError(message, code="config.policy_key") from error
        except ValueError as error:
            raise ConfigurationError(f"{where}.file: {each.file} {error}", code="config.policy_key") from error
    return tuple(keys)


def _path(home: Path, name: str) -> Path | None:
    return home / name if name else None
