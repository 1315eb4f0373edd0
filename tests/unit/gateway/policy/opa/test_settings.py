"""How an OPA is reached: what the configuration may say, and what it may not."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from gateway.errors import ConfigurationError
from gateway.policy.opa.settings import read_settings
from gateway.policy_config import OpaConfig
from tests.certificates import Authority


@dataclass(frozen=True)
class Files:
    ca: Path
    cert: Path
    key: Path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    authority = Authority(tmp_path)
    cert, key = authority.issue("client")
    return Files(authority.file, cert, key)


def test_the_default_is_opas_own_port_on_loopback(tmp_path: Path) -> None:
    """`opa run --server` without more is found."""
    settings = read_settings(OpaConfig(), tmp_path)
    assert (settings.host, settings.port, settings.prefix, settings.tls, settings.token) == (
        "127.0.0.1",
        8181,
        "",
        None,
        "",
    )
    assert settings.retries == 2


@pytest.mark.parametrize(
    ("url", "host", "port", "prefix"),
    [
        ("http://localhost", "localhost", 80, ""),
        ("http://127.9.9.9:1", "127.9.9.9", 1, ""),
        ("http://[::1]:8181/", "[::1]", 8181, ""),
        ("https://opa.example.com", "opa.example.com", 443, ""),
        ("https://10.0.0.1:8443/team/opa/", "10.0.0.1", 8443, "/team/opa"),
    ],
)
def test_urls(tmp_path: Path, url: str, host: str, port: int, prefix: str) -> None:
    """Host, port and what stands before /v1."""
    settings = read_settings(OpaConfig(url=url), tmp_path)
    assert (settings.host, settings.port, settings.prefix) == (host, port, prefix)
    assert (settings.tls is not None) is url.startswith("https")


def test_a_unix_socket(tmp_path: Path) -> None:
    """Its path is all there is."""
    settings = read_settings(OpaConfig(url="unix:///run/opa.sock"), tmp_path)
    assert (settings.socket, settings.tls) == ("/run/opa.sock", None)


def test_tls_checks_names_and_authorities_and_is_not_old(tmp_path: Path, files: Files) -> None:
    """The context verifies the server, takes no TLS below 1.2, and believes the given authority alone."""
    config = OpaConfig(url="https://127.0.0.1:1", ca_file="ca.crt", cert_file="client.crt", key_file="client.key")
    tls = read_settings(config, tmp_path).tls
    assert tls is not None
    assert (tls.verify_mode, tls.check_hostname, tls.minimum_version) == (
        ssl.CERT_REQUIRED,
        True,
        ssl.TLSVersion.TLSv1_2,
    )
    assert len(tls.get_ca_certs()) == 1
    assert files.ca.name == "ca.crt"


def test_files_are_relative_to_the_home_or_absolute(tmp_path: Path, files: Files) -> None:
    """Both spellings of one file."""
    for name in ("ca.crt", str(files.ca)):
        assert read_settings(OpaConfig(url="https://h", ca_file=name), tmp_path).tls is not None


def test_a_token_is_the_text_of_its_file(tmp_path: Path) -> None:
    """Without the line's end; and no representation shows it."""
    (tmp_path / "token").write_text("s3cret.token==\n")
    settings = read_settings(OpaConfig(token_file="token"), tmp_path)  # noqa: S106 - a file's name
    assert settings.token == "s3cret.token=="  # noqa: S105 - of the line above
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"url": "http://opa:8181"}, "policy.opa.url: plain http is for loopback only"),
        ({"url": "http://10.0.0.1:8181"}, "policy.opa.url: plain http is for loopback only"),
        ({"url": "https://u:p@h"}, "policy.opa.url: needs a host, and takes no user"),
        ({"url": "https://:8181"}, "policy.opa.url: needs a host"),
        ({"url": "https://h:99999"}, "policy.opa.url: 'https://h:99999' is no http, https or unix URL"),
        ({"url": "https://[::1"}, "policy.opa.url: 'https://[::1' is no http, https or unix URL"),
        ({"url": "unix:///" + "x" * 108}, "policy.opa.url: the path of a Unix socket has at most 107 bytes"),
        ({"ca_file": "ca.crt"}, "policy.opa.ca_file: plain http has no certificates"),
        ({"url": "unix:///s", "key_file": "client.key"}, "policy.opa.key_file: a Unix socket has no certificates"),
        ({"url": "https://h", "key_file": "client.key"}, "policy.opa.cert_file: a client certificate and its key go"),
        ({"url": "https://h", "cert_file": "client.crt"}, "policy.opa.key_file: a client certificate and its key go"),
        ({"url": "https://h", "ca_file": "none.crt"}, "policy.opa.ca_file: .*none.crt: No such file or directory"),
        ({"url": "https://h", "ca_file": "."}, "policy.opa.ca_file: .*: Is a directory"),
        ({"url": "https://h", "ca_file": "client.key"}, "policy.opa.ca_file: .*client.key: no certificates in PEM"),
        (
            {"url": "https://h", "cert_file": "client.crt", "key_file": "none.key"},
            "policy.opa.key_file: .*none.key: No such file or directory",
        ),
        (
            {"url": "https://h", "cert_file": "client.crt", "key_file": "other.key"},
            "policy.opa.cert_file: .* are no certificate and its unencrypted key",
        ),
        (
            {"url": "https://h", "cert_file": "client.crt", "key_file": "locked.key"},
            "policy.opa.cert_file: .* are no certificate and its unencrypted key",
        ),
        ({"token_file": "none"}, "policy.opa.token_file: .*none: No such file or directory"),
        ({"token_file": "empty"}, "policy.opa.token_file: .*: no bearer token"),
        ({"token_file": "two"}, "policy.opa.token_file: .*: no bearer token"),
        ({"token_file": "long"}, "policy.opa.token_file: .*: no bearer token of at most 16384 bytes"),
        ({"token_file": "binary"}, "policy.opa.token_file: .*: no bearer token"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(
    tmp_path: Path, files: Files, table: dict[str, str], message: str
) -> None:
    """A gateway that is configured so does not start, and says why."""
    Authority(tmp_path, "other-ca").issue("other")
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    (tmp_path / "locked.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    for name, text in (("empty", b"\n"), ("two", b"a b"), ("long", b"a" * 16_385), ("binary", b"\xff\0")):
        (tmp_path / name).write_bytes(text)
    with pytest.raises(ConfigurationError, match="^" + message.replace("[", r"\[")) as caught:
        read_settings(OpaConfig.model_validate(table), tmp_path)
    assert caught.value.code == "config.invalid"
