"""Client certificates: which are good, and whom they name."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.authn import client_trust
from gateway.authn.certificates import ClientCertificates
from gateway.authn.credential import ShownCertificate
from gateway.authn.tls_files import TlsFiles, TlsPaths
from gateway.errors import ConfigurationError, UnauthenticatedError
from gateway.identity import Principal
from tests.bundle_worlds import ManualClock
from tests.certificates import Authority

WORKER = "spiffe://prod.example/ns/a/worker"
PRINCIPALS = {
    WORKER: Principal(subject="worker", tenant="red", roles=("submitter",)),
    "CN=plain": Principal(subject="plain", tenant="red"),
}
DAY = 86_400


class Site:
    """A gateway's TLS files, and the authority of its clients."""

    def __init__(self, folder: Path, *, lists: bytes | None = None) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        self.clock = ManualClock(datetime.now(UTC))  # noqa: TID251 - certificates are good by the machine's clock
        self.certificate, self.key = self.authority.issue("server")
        if lists is not None:
            (folder / "clients.crl").write_bytes(lists)
        revocations = folder / "clients.crl" if lists is not None else None
        paths = TlsPaths(
            certificate=self.certificate,
            key=self.key,
            client_authorities=self.authority.file,
            client_revocations=revocations,
        )
        self.files = TlsFiles(paths, self.clock)
        self.clients = ClientCertificates(self.files, PRINCIPALS, self.clock)

    def named(self, leaf: Path, *beside: Path) -> Principal:
        chain = b"".join(path.read_bytes() for path in (leaf, *beside)) if beside else b""
        return self.clients.authenticate(ShownCertificate(leaf.read_bytes(), chain))

    def refused(self, leaf: Path, *beside: Path) -> str:
        with pytest.raises(UnauthenticatedError) as caught:
            self.named(leaf, *beside)
        assert (caught.value.code, caught.value.message) == (
            "auth.unauthenticated",
            "the client certificate is not accepted",
        )
        return caught.value.check


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_spiffe_id_or_a_subject_names_a_principal(site: Site) -> None:
    """The SPIFFE ID where there is one; a subject only where there is none."""
    svid, _ = site.authority.issue("plain", host="", uris=[WORKER])
    assert site.named(svid) == PRINCIPALS[WORKER]
    subject, _ = site.authority.issue("plain", host="")
    assert site.named(subject) == PRINCIPALS["CN=plain"]


@pytest.mark.parametrize(
    ("uris", "check"),
    [
        (["spiffe://prod.example/ns/a/other"], "certificate_unmapped"),
        ([WORKER + "/"], "certificate_unmapped"),
        ([WORKER.upper()], "certificate_unmapped"),
        ([WORKER, "spiffe://prod.example/ns/a/admin"], "certificate_form"),
        (["https://example", WORKER], "certificate_form"),
    ],
)
def test_no_other_spiffe_id_does(site: Site, uris: Sequence[str], check: str) -> None:
    """Character by character, one of them (X509-SVID, 2); the subject of an SVID counts nothing, mapped or not."""
    leaf, _ = site.authority.issue("plain", uris=uris)
    assert site.refused(leaf) == check


def test_an_unknown_subject_is_nobody(site: Site) -> None:
    """However good the certificate is."""
    assert site.refused(site.authority.issue("somebody")[0]) == "certificate_unmapped"


def test_foreign_expired_and_other_certificates_are_refused(site: Site, tmp_path: Path) -> None:
    """Of another authority, of one that has the same name, expired, for servers only, for nothing that is said."""
    (tmp_path / "x").mkdir()
    assert site.refused(Authority(tmp_path / "x", "other").issue("plain", uris=[WORKER])[0]) == "certificate_chain"
    assert site.refused(Authority(tmp_path / "x", "ca").issue("plain", uris=[WORKER])[0]) == "certificate_chain"
    issue = site.authority.issue
    assert site.refused(issue("plain", expired=True)[0]) == "certificate_expired"
    server_only = [ExtendedKeyUsageOID.SERVER_AUTH]
    assert site.refused(issue("plain", usages=server_only)[0]) == "certificate_usage"
    assert site.refused(issue("plain", usages=None)[0]) == "certificate_usage"


def test_a_certificate_ends_on_a_connection_that_goes_on(site: Site) -> None:
    """What was good a moment ago is looked at again when its time is over."""
    leaf, _ = site.authority.issue("plain")
    assert site.named(leaf).subject == "plain"
    site.clock.pass_(31 * DAY)
    assert site.refused(leaf) == "certificate_expired"


def test_an_authority_below_another_is_followed(site: Site, tmp_path: Path) -> None:
    """With the certificate between them shown; without it, and below one that may have none, nothing leads up."""
    between = Authority(tmp_path, "between", under=site.authority)
    leaf, _ = between.issue("plain")
    assert site.named(leaf, between.file).subject == "plain"
    assert site.refused(leaf) == "certificate_chain"
    below = Authority(tmp_path, "below", under=between)
    leaf, _ = below.issue("plain")
    assert site.refused(leaf, below.file, between.file) == "certificate_chain"


def test_a_client_is_no_authority(site: Site, tmp_path: Path) -> None:
    """Nor is an authority's own certificate, which everybody has, a client's."""
    assert site.refused(site.authority.file) == "certificate_usage"
    leaf, _ = site.authority.issue("plain")
    stranger, _ = Authority(tmp_path, "stranger").issue("plain")
    assert site.refused(stranger, leaf) == "certificate_chain"


@pytest.mark.parametrize("leaf", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(site: Site, leaf: bytes) -> None:
    """TLS gives none of these; nothing rests on that."""
    with pytest.raises(UnauthenticatedError) as caught:
        site.clients.authenticate(ShownCertificate(leaf, b"x" * 300_000))
    assert caught.value.check == "certificate_form"
    with pytest.raises(UnauthenticatedError):
        site.clients.authenticate(ShownCertificate(leaf))


def test_a_revoked_certificate_is_refused_from_the_next_look_on(tmp_path: Path) -> None:
    """Also where it was accepted before, on a connection that is still there; others go on."""
    site = Site(tmp_path, lists=Authority(tmp_path, "x").revocations())
    (tmp_path / "clients.crl").write_bytes(site.authority.revocations())
    assert site.files.reload()
    leaf, _ = site.authority.issue("plain")
    svid, _ = site.authority.issue("svid", uris=[WORKER])
    assert site.named(leaf).subject == "plain"
    (tmp_path / "clients.crl").write_bytes(site.authority.revocations(leaf))
    assert site.files.reload()
    assert site.refused(leaf) == "certificate_revoked"
    assert site.named(svid).subject == "worker"


def test_who_was_revoked_makes_the_gateway_read_no_list_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list may have 16 MiB: what it says, and who has signed it, is found out once and not for each call."""
    read: list[object] = []

    def counted(revoked: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
        read.append(revoked)
        return client_trust_is_of(revoked, issuer)

    client_trust_is_of = client_trust._is_of
    monkeypatch.setattr(client_trust, "_is_of", counted)
    site = Site(tmp_path, lists=Authority(tmp_path, "x").revocations())
    leaf, _ = site.authority.issue("plain", host="")
    (site.folder / "clients.crl").write_bytes(site.authority.revocations(leaf))
    assert site.files.reload()
    seen = len(read)
    assert [site.refused(leaf) for _ in range(5)] == ["certificate_revoked"] * 5
    assert len(read) == seen


def test_without_a_list_in_time_nobody_knows(tmp_path: Path) -> None:
    """A list of another authority, one that has ended, and none for an authority between: no certificate is good."""
    foreign = Authority(tmp_path, "x")
    site = Site(tmp_path, lists=foreign.revocations())
    leaf, _ = site.authority.issue("plain")
    assert site.refused(leaf) == "certificate_unchecked"
    (tmp_path / "y").mkdir()
    forged = Authority(tmp_path / "y", "ca").revocations()  # the name of the authority, and another key
    for lists in (site.authority.revocations(stale=True), forged):
        (tmp_path / "clients.crl").write_bytes(lists)
        assert site.files.reload()
        assert site.refused(leaf) == "certificate_unchecked"
    (tmp_path / "clients.crl").write_bytes(forged + site.authority.revocations())
    assert site.files.reload()
    assert site.named(leaf).subject == "plain"
    between = Authority(tmp_path, "between", under=site.authority)
    leaf, _ = between.issue("plain")
    assert site.refused(leaf, between.file) == "certificate_unchecked"
    (tmp_path / "clients.crl").write_bytes(site.authority.revocations() + between.revocations())
    assert site.files.reload()
    assert site.named(leaf, between.file).subject == "plain"
    site.clock.pass_(2 * DAY)
    assert site.refused(leaf, between.file) == "certificate_unchecked"


def test_half_a_list_is_none(tmp_path: Path) -> None:
    """A list of some certificates only says nothing of the others, and is not taken."""
    with pytest.raises(ConfigurationError, match=r"^tls\.client_crl_file: "):
        Site(tmp_path, lists=Authority(tmp_path, "x").revocations(partial=True))


def test_an_authority_that_is_taken_out_is_out(site: Site, tmp_path: Path) -> None:
    """Its clients' connections may live on; their calls do not."""
    leaf, _ = site.authority.issue("plain")
    assert site.named(leaf).subject == "plain"
    (tmp_path / "x").mkdir()
    site.authority.file.write_bytes(Authority(tmp_path / "x").file.read_bytes())
    assert site.files.reload()
    assert site.refused(leaf) == "certificate_chain"


def test_what_is_adopted_replaces_what_was(site: Site) -> None:
    """A certificate that is mapped no longer is nobody's, though it was accepted a moment ago."""
    leaf, _ = site.authority.issue("plain")
    assert site.named(leaf).subject == "plain"
    site.clients.adopt({WORKER: PRINCIPALS[WORKER]})
    assert site.refused(leaf) == "certificate_unmapped"
