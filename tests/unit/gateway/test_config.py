"""missiongate.toml: what is read, what is refused, and that the documentation knows every key."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from engine.clock import SystemClock
from gateway.config import CONFIG_NAME, Config, load_config
from gateway.config_sources import FILE_BYTES_MAX
from gateway.entrance import issuer_of, tls_paths
from gateway.errors import ConfigurationError
from gateway.identity import Principal
from gateway.workers.isolation import Isolation, Layer

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"
SHA = "a" * 64


def written(home: Path, text: str) -> Path:
    (home / CONFIG_NAME).write_text(text)
    return home


def refusal(home: Path, **overrides: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load_config(home, **overrides)
    return caught.value


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    """Nothing has to be set; nobody has a token then, and nobody is let in without one."""
    config = load_config(written(tmp_path, ""))
    assert config == Config()
    assert config.listen == "127.0.0.1:7443"
    assert config.anonymous is False
    assert config.tokens == []


def test_a_token_becomes_a_principal(tmp_path: Path) -> None:
    """With subject, tenant and roles."""
    text = f'[[tokens]]\nsha256 = "{SHA}"\nsubject = "ann@example.org"\nroles = ["submitter", "auditor"]\n'
    entry = load_config(written(tmp_path, text)).tokens[0].entry()
    assert entry.sha256 == SHA
    assert entry.principal == Principal(subject="ann@example.org", tenant="default", roles=("submitter", "auditor"))


def test_limits_reach_the_engine(tmp_path: Path) -> None:
    """Every key of [limits] that the engine knows is what the engine gets."""
    text = "[limits]\ndocument_bytes_max = 2048\nsteps_max = 7\nparallel_limit_max = 3\n"
    limits = load_config(written(tmp_path, text)).limits.mission_limits()
    assert (limits.document_bytes_max, limits.steps_max, limits.parallel_limit_max) == (2048, 7, 3)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("lissten = 'x'", "lissten"),
        ("anonymous = 'yes'", "anonymous"),
        ("anonymous = 1", "anonymous"),
        ("listen = ''", "listen"),
        ("listen = '127.0.0.1'", "listen"),
        ("listen = '127.0.0.1:65536'", "listen"),
        ("listen = 'http://127.0.0.1:80'", "listen"),
        ("listen = '::1:7443'", "listen"),
        ("[workers]\nsandbox = 0", "workers.sandbox"),
        ("[workers]\nsandbox = 2.5", "workers.sandbox"),
        ("[workers]\nspare = 1", "workers.spare"),
        ("[workers]\naccept_without = ['rlimits']", "workers.accept_without.0"),
        ("[workers]\naccept_without = 'seccomp'", "workers.accept_without"),
        ("[workers]\naccept_without = true", "workers.accept_without"),
        ("[limits]\ndocument_bytes_max = 4194305", "limits.document_bytes_max"),
        ("[[tokens]]\nsubject = 'ann'", "tokens.0.sha256"),
        (f"[[tokens]]\nsha256 = '{SHA.upper()}'\nsubject = 'ann'", "tokens.0.sha256"),
        (f"[[tokens]]\nsha256 = '{SHA}'\nsubject = 'a b'", "tokens.0.subject"),
        (f"[[tokens]]\nsha256 = '{SHA}'\nsubject = 'b'\ntenant = 'a/b'", "tokens.0.tenant"),
        (f"[[tokens]]\nsha256 = '{SHA}'\nsubject = 'ann'\n[[tokens]]\nsha256 = '{SHA}'\nsubject = 'bob'", "tokens"),
        ("[[audit.exports]]\nname = 'x'", "audit.exports.0.url"),
        ("[[audit.exports]]\nname = 'x'\nfile = 'f'\nurl = 'http://c/'", "audit.exports.0.url"),
        ("[[audit.exports]]\nname = '../x'\nfile = 'f'", "audit.exports.0.name"),
        ("[[audit.exports]]\nname = 'x'\nfile = 'f'\ntoken_file = 't'", "audit.exports.0.token_file"),
        ("[[audit.exports]]\nname = 'x'\nfile = 'f'\ninclude = ['Step.*']", "audit.exports.0.include.0"),
        ("[[audit.exports]]\nname = 'x'\nfile = 'f'\nbatch_events_max = 0", "audit.exports.0.batch_events_max"),
        ("[[audit.exports]]\nname = 'x'\nfile = 'f'\n[[audit.exports]]\nname = 'x'\nfile = 'g'", "audit.exports"),
        ("[[audit.exports]]\nname = 'x'\nfile = 'f'\n[[audit.exports]]\nname = 'y'\nfile = 'f'", "audit.exports"),
        ("[audit]\narchive_discard = 'yes'", "audit.archive_discard"),
        ("[audit]\nexports_hold_days = -1", "audit.exports_hold_days"),
        ("[[hooks]]\npath = 'x'", "hooks.0.sha256"),
        (f"[[hooks]]\nbuiltin = 'x'\nsha256 = '{SHA}'", "hooks.0.sha256"),
        ("[[hooks]]\norder = 1", "hooks.0.builtin"),
        (f"[[hooks]]\npath = 'x'\nbuiltin = 'x'\nsha256 = '{SHA}'", "hooks.0.builtin"),
        ("[[hooks]]\nbuiltin = 'x'\norder = 1.5", "hooks.0.order"),
        ("[[hooks]]\nbuiltin = 'x'\nlabels = {a = 1}", "hooks.0.labels.a"),
        ("[[hooks]]\nbuiltin = 'x'\nstep_types = 'http'", "hooks.0.step_types"),
    ],
)
def test_a_broken_rule_names_its_key(tmp_path: Path, text: str, where: str) -> None:
    """Unknown keys, wrong types, values out of bounds, two tokens alike: config.invalid, and the key."""
    error = refusal(written(tmp_path, text))
    assert error.code == "config.invalid"
    assert f": {where}: " in error.message


@pytest.mark.parametrize("missing", [("landlock",), ("seccomp",), ("landlock", "seccomp")])
def test_a_kernel_that_lacks_a_layer_is_refused_unless_it_is_named(tmp_path: Path, missing: tuple[str, ...]) -> None:
    """Each layer by its own name; the refusal says what lacks, the key, and what to write there."""
    kernel = Isolation(landlock_abi=0 if "landlock" in missing else 7, seccomp="seccomp" not in missing)
    for count in range(len(missing)):
        lacking = missing[count:]
        config = load_config(written(tmp_path, f"[workers]\naccept_without = {json.dumps(missing[:count])}"))
        with pytest.raises(ConfigurationError) as caught:
            config.workers.check(kernel)
        assert caught.value.code == "config.isolation"
        assert f"workers.accept_without: this kernel lacks {' and '.join(lacking)}" in caught.value.message
        assert json.dumps(lacking) in caught.value.message
    load_config(written(tmp_path, f"[workers]\naccept_without = {json.dumps(missing)}")).workers.check(kernel)
    Config().workers.check(Isolation(landlock_abi=1, seccomp=True))
    assert {str(layer) for layer in Layer} == {"landlock", "seccomp"}


def test_a_refused_token_is_not_repeated(tmp_path: Path) -> None:
    """Somebody who pastes a token instead of its digest does not find it in a message or a log."""
    error = refusal(written(tmp_path, "[[tokens]]\nsubject = 'ann'\nsha256 = 'the-token-itself'"))
    assert "the-token-itself" not in error.message


@pytest.mark.parametrize("raw", [b"listen = ", b"\xff\xfe", b"a = " + b"[" * 100_000])
def test_what_is_no_toml_is_refused(tmp_path: Path, raw: bytes) -> None:
    """Syntax, encoding and depth are config.syntax."""
    (tmp_path / CONFIG_NAME).write_bytes(raw)
    assert refusal(tmp_path).code == "config.syntax"


def test_a_missing_and_a_large_file_are_told_apart(tmp_path: Path) -> None:
    """The first names `missiongate init`; the second is not read to its end."""
    missing = refusal(tmp_path)
    assert missing.code == "config.unreadable"
    assert "missiongate init" in missing.message
    assert refusal(written(tmp_path, "#" * (FILE_BYTES_MAX + 1))).code == "config.too_large"


def test_options_go_before_the_file_and_obey_its_rules(tmp_path: Path) -> None:
    """As `serve --listen --anonymous` gives them."""
    home = written(tmp_path, "listen = '127.0.0.1:1'\nanonymous = true")
    config = load_config(home, listen="[::1]:0", anonymous=False)
    assert (config.listen, config.anonymous) == ("[::1]:0", False)
    assert load_config(home).anonymous is True
    assert refusal(home, listen="nonsense").code == "config.invalid"


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key with its default, tables and arrays of tables unfolded."""
    for name, field in model.model_fields.items():
        inner = get_args(field.annotation)[0] if get_origin(field.annotation) is list else field.annotation
        if isinstance(inner, type) and not isinstance(inner, UnionType) and issubclass(inner, BaseModel):
            yield from keys(inner, f"{prefix}{name}[]." if inner is not field.annotation else f"{prefix}{name}.")
        else:
            default = field.get_default(call_default_factory=True)
            yield f"{prefix}{name}", default


def test_the_documentation_has_every_key_with_its_default() -> None:
    """docs/configuration.md lists exactly the keys that the gateway reads, each with the default that it takes."""
    table = DOCUMENT.read_text().partition("## Keys")[2].partition("\n## A token")[0]
    rows = re.findall(r"^\| `([^`]+)` \| [^|]+ \| ([^|]+) \|", table, re.MULTILINE)
    spelled = {
        name: "required"
        if default is PydanticUndefined
        else "none"
        if default is None
        else f"`{list(default) if isinstance(default, tuple) else default!r}`".replace("'", '"')
        .replace("False", "false")
        .replace("True", "true")
        for name, default in keys(Config)
    }
    assert {name: default.strip() for name, default in rows} == spelled


def test_an_unknown_key_and_a_bad_option_are_named_as_what_they_are(tmp_path: Path) -> None:
    """A person looks for a mistake where it was made: in the file, or on the command line."""
    (tmp_path / CONFIG_NAME).write_text('colour = "red"\n')
    with pytest.raises(ConfigurationError, match=r"missiongate\.toml: colour: unknown key"):
        load_config(tmp_path)
    (tmp_path / CONFIG_NAME).write_text("")
    with pytest.raises(ConfigurationError, match=r"^--listen: "):
        load_config(tmp_path, listen="nonsense")


TLS = "[tls]\ncert_file = 's.crt'\nkey_file = 's.key'\n"


def test_a_network_needs_tls(tmp_path: Path) -> None:
    """Tokens do not travel in the clear: only this machine's own addresses are listened on without."""
    for listen in ("0.0.0.0:7443", "[::]:7443", "192.0.2.1:0", "gateway.example:7443"):
        with pytest.raises(ConfigurationError, match="needs TLS") as caught:
            load_config(written(tmp_path, f"listen = '{listen}'")).check_listen()
        assert caught.value.code == "config.listen"
        load_config(written(tmp_path, f"listen = '{listen}'\n{TLS}")).check_listen()
    for listen in ("127.0.0.1:0", "[::1]:0", "localhost:7443"):
        load_config(written(tmp_path, f"listen = '{listen}'")).check_listen()


ISSUER = "[[issuers]]\nissuer = 'https://i.example'\naudiences = ['a']\n"
KEYS = "jwks_url = 'https://i.example/keys'\n"
SPIFFE = "[[certificates]]\nsubject = 'w'\nspiffe_id = "


@pytest.mark.parametrize(
    ("text", "field", "rule"),
    [
        ("[tls]\ncert_file = 'c'", "tls", "go together"),
        ("[tls]\nclient_ca_file = 'c'", "tls", "without cert_file"),
        (TLS + "client_listen = '127.0.0.1:1'", "tls", "need client_ca_file"),
        (TLS + "client_crl_file = 'c'", "tls", "need client_ca_file"),
        (TLS + "plain_listen = '0.0.0.0:1'", "tls", "must be a loopback address"),
        (TLS + "plain_listen = 'nonsense'", "tls.plain_listen", "host:port"),
        (SPIFFE + "'spiffe://p.example/w'", "file", "need tls.client_ca_file"),
        (SPIFFE + "'spiffe://p.example/../w'", "certificates.0", "spiffe://trust-domain"),
        (SPIFFE + "'spiffe://P.example/w'", "certificates.0", "spiffe://trust-domain"),
        (SPIFFE + "'https://p.example/w'", "certificates.0", "spiffe://trust-domain"),
        (SPIFFE + "'spiffe://p.example/w'\nsubject_name = 'CN=w'", "certificates.0", "either"),
        ("[[certificates]]\nsubject = 'w'", "certificates.0", "either"),
        (SPIFFE + "'spiffe://p/w'\n" + SPIFFE + "'spiffe://p/w'", "certificates", "the same spiffe_id"),
        (ISSUER, "issuers.0", "either jwks_url or jwks_file"),
        (ISSUER + KEYS + "jwks_file = 'k'", "issuers.0", "either jwks_url or jwks_file"),
        (ISSUER + "jwks_url = 'http://i.example/keys'", "issuers.0", "must be https"),
        (ISSUER + "jwks_url = 'https://u:p@i.example/keys'", "issuers.0", "must be https"),
        (ISSUER + "jwks_url = 'file:///etc/passwd'", "issuers.0", "must be https"),
        (ISSUER + KEYS + "tenant_claim = 'org'", "issuers.0", "tenants go together"),
        (ISSUER + KEYS + "tenant = 'x'\ntenant_claim = 'org'\ntenants = ['a']", "issuers.0", "either tenant or"),
        (ISSUER + KEYS + "roles_claim = 'groups'", "issuers.0", "roles_of go together"),
        (ISSUER + KEYS + "algorithms = ['HS256']", "issuers.0.algorithms.0", "EdDSA"),
        (ISSUER + KEYS + "algorithms = []", "issuers.0.algorithms", "at least 1"),
        (ISSUER + KEYS + "stale_seconds_max = 10", "issuers.0", "below refresh_seconds"),
        (ISSUER + KEYS + ISSUER + KEYS, "issuers", "the same issuer"),
        ("[[sockets]]\nsubject = 'a'\nfolder = 's'\n" * 2, "sockets", "the same folder"),
        (
            "[[tokens]]\nsubject = 'a'\nsha256 = '" + "0" * 64 + "'\nexpires = 2027-01-01T00:00:00",
            "tokens.0.expires",
            "",
        ),
    ],
)
def test_who_may_come_in_is_said_without_a_gap(tmp_path: Path, text: str, field: str, rule: str) -> None:
    """What opens nothing as it stands, or more than somebody may have meant, is refused with its field."""
    error = refusal(written(tmp_path, text))
    assert (error.code, f"{CONFIG_NAME}: {field}: " in error.message) == ("config.invalid", True), error.message
    assert rule in error.message


def test_credentials_become_what_the_authenticator_takes(tmp_path: Path) -> None:
    """Paths from the home, times in UTC, types and pointers as they are compared."""
    text = (
        TLS
        + "client_ca_file = 'ca.crt'\n"
        + SPIFFE
        + "'spiffe://p/w'\n"
        + ISSUER
        + KEYS
        + "types = ['application/at+jwt']\n"
        "[[sockets]]\nsubject = 'a'\nfolder = 's'\n"
        "[[tokens]]\nsubject = 'a'\nsha256 = '" + "0" * 64 + "'\nexpires = 2027-01-01T02:00:00+02:00"
    )
    config = load_config(written(tmp_path, text))
    paths = tls_paths(config.tls, tmp_path)
    assert paths is not None
    assert (paths.key, paths.client_authorities, paths.client_revocations) == (
        tmp_path / "s.key",
        tmp_path / "ca.crt",
        None,
    )
    assert config.tokens[0].entry().expires == datetime(2027, 1, 1, tzinfo=UTC)
    issuer = issuer_of(config.issuers[0], tmp_path, SystemClock())
    assert (issuer.types, issuer.claims.tenant) == (frozenset({"at+jwt"}), "default")
    assert config.sockets[0].socket(tmp_path).path == tmp_path / "s" / "gateway.sock"
    assert tls_paths(Config().tls, tmp_path) is None
