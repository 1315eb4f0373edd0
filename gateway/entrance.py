"""Who comes in, and where: made from the configuration, and changed by a new one while the gateway runs."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from engine.clock import Clock
from gateway.authn.authenticator import Accepted, Authenticator
from gateway.authn.certificates import ClientCertificates
from gateway.authn.issuer_keys import IssuerKeys, KeyTimes
from gateway.authn.jwt import Issuer, JwtVerifier
from gateway.authn.key_sources import KeyFile, KeySource, KeyUrl
from gateway.authn.refusals import Refusals
from gateway.authn.tls_files import TlsFiles, TlsPaths
from gateway.authn.tokens import TokenTable
from gateway.config import Config
from gateway.identity_config import IssuerConfig, TlsConfig
from gateway.rpc.listeners import Listening


@dataclass(slots=True, kw_only=True)
class Entrance:
    """What knows callers, and what listens for them."""

    authenticator: Authenticator
    refusals: Refusals
    listening: Listening
    _home: Path
    _clock: Clock
    _jwt: JwtVerifier
    _reload_seconds: float
    _issuers: Mapping[str, tuple[IssuerConfig, Issuer]] = field(default_factory=dict)

    @classmethod
    def of(cls, home: Path, config: Config, clock: Clock) -> Self:
        """Return the entrance of a home.

        Raises:
            ConfigurationError: `config.tls`, certificates or keys cannot be used.
        """
        paths = tls_paths(config.tls, home)
        files = None if paths is None else TlsFiles(paths, clock)
        certificates = None
        if files is not None and files.material.clients is not None:
            certificates = ClientCertificates(files, {}, clock)
        jwt = JwtVerifier((), clock)
        made = cls(
            authenticator=Authenticator(tokens=TokenTable((), clock), jwt=jwt, certificates=certificates),
            refusals=Refusals(),
            listening=Listening(
                address=config.listen,
                tls=files,
                client_address=config.tls.client_listen,
                plain_address=config.tls.plain_listen,
                sockets=tuple(entry.socket(home) for entry in config.sockets),
                home=home,
            ),
            _home=home,
            _clock=clock,
            _jwt=jwt,
            _reload_seconds=config.tls.reload_seconds,
        )
        made.adopt(config)
        return made

    def adopt(self, config: Config) -> None:
        """From now on let in whom this configuration names: tokens, certificates, issuers, strangers from loopback.

        Where the gateway listens, its sockets, and the paths of TLS files are of the start.
        """
        self.authenticator.adopt(
            Accepted(
                tokens=[token.entry() for token in config.tokens],
                certificates={entry.name: entry.principal() for entry in config.certificates},
                anonymous=config.anonymous,
            )
        )
        self._issuers = {entry.issuer: (entry, self._issuer(entry)) for entry in config.issuers}
        self._jwt.adopt([issuer for _, issuer in self._issuers.values()])

    def prepare(self, config: Config) -> Callable[[], None]:
        """Read the TLS files anew, which may take a while, and return what adopts the rest at once.

        Raises:
            ConfigurationError: `config.tls`, they cannot be used as they are now; nothing has changed.
        """
        if self.listening.tls is not None:
            self.listening.tls.check()
            self.listening.tls.reload()  # as it does by itself, sooner or later: it follows the disk
        return lambda: self.adopt(config)

    @property
    def certificate_ends(self) -> float | None:
        """When the gateway's certificate ends, Unix seconds; None: there is no TLS."""
        tls = self.listening.tls
        return None if tls is None else tls.material.ends.timestamp()

    def works(self) -> list[Coroutine[Any, Any, None]]:
        """Return what goes on beside the calls: issuers are asked, and files are followed."""
        tls = self.listening.tls
        return [self._jwt.open(), *([] if tls is None else [tls.follow(self._reload_seconds)])]

    async def close(self) -> None:
        """Ask nobody any more."""
        await self._jwt.close()

    def _issuer(self, entry: IssuerConfig) -> Issuer:
        """Return an issuer; one of whom nothing has changed keeps its keys."""
        before = self._issuers.get(entry.issuer)
        return before[1] if before is not None and before[0] == entry else issuer_of(entry, self._home, self._clock)


def tls_paths(tls: TlsConfig, home: Path) -> TlsPaths | None:
    """Return where the TLS files of a home are; None: there is no TLS."""
    if not tls.cert_file:
        return None
    return TlsPaths(
        certificate=home / tls.cert_file,
        key=home / tls.key_file,
        client_authorities=home / tls.client_ca_file if tls.client_ca_file else None,
        client_revocations=home / tls.client_crl_file if tls.client_crl_file else None,
    )


def issuer_of(entry: IssuerConfig, home: Path, clock: Clock) -> Issuer:
    """Return an issuer, whose keys nobody has asked for yet."""
    source: KeySource = (
        KeyUrl(entry.jwks_url, ca_file=home / entry.ca_file if entry.ca_file else None)
        if entry.jwks_url
        else KeyFile(home / entry.jwks_file)
    )
    times = KeyTimes(
        refresh_seconds=entry.refresh_seconds,
        again_seconds=entry.unknown_key_seconds,
        stale_seconds_max=entry.stale_seconds_max,
    )
    return Issuer(
        name=entry.issuer,
        keys=IssuerKeys(source, times, clock),
        algorithms=frozenset(entry.algorithms),
        types=frozenset(each.lower().removeprefix("application/") for each in entry.types),
        claims=entry.rules(),
    )
