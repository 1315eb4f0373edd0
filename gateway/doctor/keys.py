"""The keys of a home: they open, nobody else can read them, and they fit what was made with them."""

import stat
from collections.abc import Iterator
from pathlib import Path

from engine.audit.keys import VerifierKey
from engine.clock import Clock
from engine.errors import EngineError
from gateway.authn.tls_files import TlsFiles, TlsPaths
from gateway.config import Config
from gateway.doctor.check import Check, failed, ok, warn
from gateway.entrance import tls_paths
from gateway.folders import STORE_FILE
from gateway.signing.passphrase import MISSING
from gateway.signing.signers import VERIFIER_KEY_FILE
from gateway.store.master_keys import KEY_FILE as PAYLOADS_KEY_FILE
from gateway.store.master_keys import MasterKeys
from gateway.store.opening import holds_keys
from gateway.vault.reader import VaultReader


def folder(home: Path) -> Check:
    """Whether others can look into the home."""
    code = "keys.home"
    try:
        found = home.stat()
    except OSError as error:
        return failed(code, f"{home}: {error.strerror}", "missiongate init makes a home")
    if stat.S_IMODE(found.st_mode) & 0o077:
        return warn(code, f"{home} is open to others (mode {stat.S_IMODE(found.st_mode):o})", f"chmod 700 {home}")
    return ok(code, f"{home} is open to its owner alone")


def all_keys(home: Path, config: Config, clock: Clock) -> Iterator[Check]:
    """Open each key once, as a start would; a passphrase costs half a second."""
    yield signing(home, config)
    yield payloads(home, config, clock)
    yield vault(home, config)
    if (paths := tls_paths(config.tls, home)) is not None:
        yield tls(paths, clock)


def signing(home: Path, config: Config) -> Check:
    """Whether the key opens that signs the log, and is the one whose other half is given to auditors."""
    code = "keys.log"
    try:
        signer = config.audit.choice(home).open()
    except EngineError as error:
        if error.code == MISSING:
            return warn(code, error.message, "serve asks on its terminal; without one it does not start")
        return failed(code, error.message, "docs/audit-keys.md; missiongate keys show says what a file is")
    public = home / VERIFIER_KEY_FILE
    try:
        VerifierKey.parse(text := public.read_text().strip())
    except (OSError, ValueError):
        return warn(code, f"{public} holds no verifier key", f"write {signer.verifier_key()} into it")
    if text != signer.verifier_key():
        advice = "missiongate keys rotate ends a rotation that was broken off; else one of the two is another log's"
        return failed(code, f"{public} is not the public half of the key that signs", advice)
    return ok(code, f"the log is signed by {signer.name}")


def payloads(home: Path, config: Config, clock: Clock) -> Check:
    """Whether the master key of missions can be had."""
    code, path = "keys.payloads", home / PAYLOADS_KEY_FILE
    try:
        if not path.exists() and not holds_keys(home / STORE_FILE):
            return ok(code, "no key of missions yet; the first start makes it")
        MasterKeys.of(config.secrets.source(home), clock)
    except EngineError as error:
        return failed(code, error.message, f"put {path} back from where its copy is kept; docs/privacy.md")
    return ok(code, "the master key of missions opens")


def tls(paths: TlsPaths, clock: Clock) -> Check:
    """Whether certificate, key and authorities can be used."""
    code = "keys.tls"
    try:
        TlsFiles(paths, clock)
    except EngineError as error:
        return failed(code, error.message, "docs/identity.md, TLS")
    return ok(code, "the certificate and its key can be used")


def vault(home: Path, config: Config) -> Check:
    """Whether the vault opens, where there is one."""
    code = "keys.secrets"
    reader = VaultReader(config.secrets.source(home))
    try:
        reader.missing("default", ("doctor",))  # it has to be opened to say so
    except EngineError as error:
        return failed(code, error.message, "docs/secrets.md; missiongate secret list says more")
    finally:
        reader.close()
    return ok(code, "the vault opens, or there is none yet")
