"""What the CA signs is trusted by who was given a trust store, and by nobody else."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from mitmproxy.certs import CertStore

from mitmgate.ca.authority import Authority, ensure_ca
from mitmgate.ca.bundle import TRUSTSTORE_PASSWORD, combined_bundle, java_truststore

HOST = "mcp.example.com"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    return ensure_ca(tmp_path / "ca")


def server_context(authority: Authority) -> ssl.SSLContext:
    """Return a server that shows the certificate mitmproxy makes for HOST."""
    store = CertStore.from_store(authority.folder, "mitmproxy", 2048)
    entry = store.get_cert(HOST, [x509.DNSName(HOST)], None)
    shown = authority.folder / "leaf.pem"
    shown.write_bytes(
        entry.privatekey.private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )
        + entry.cert.to_pem()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown)
    return context


def handshake(client_context: ssl.SSLContext, server: ssl.SSLContext) -> None:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(down, up, server_hostname=HOST)
    peer = server.wrap_bio(up, down, server_side=True)
    for _ in range(4):
        for side in (client, peer):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client.getpeercert()


def test_mitmproxy_signs_with_our_ca_and_makes_none_of_its_own(authority: Authority) -> None:
    store = CertStore.from_store(authority.folder, "mitmproxy", 2048)
    entry = store.get_cert(HOST, [x509.DNSName(HOST)], None)
    ours = x509.load_pem_x509_certificate(authority.cert_path.read_bytes())
    entry.cert.to_cryptography().verify_directly_issued_by(ours)


def test_a_strict_client_with_the_bundle_accepts_what_we_sign(authority: Authority) -> None:
    bundle = combined_bundle(authority, authority.folder / "bundle.pem")
    client = ssl.create_default_context(cafile=str(bundle))
    assert client.verify_flags & ssl.VERIFY_X509_STRICT
    handshake(client, server_context(authority))


def test_a_client_without_the_bundle_refuses_it(authority: Authority) -> None:
    client = ssl.create_default_context(cafile=certifi.where())
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client, server_context(authority))


def test_the_bundle_holds_the_roots_of_the_system_and_our_ca_once(authority: Authority) -> None:
    bundle = combined_bundle(authority, authority.folder / "bundle.pem").read_text()
    count = Path(certifi.where()).read_text().count("BEGIN CERTIFICATE")
    assert bundle.count("BEGIN CERTIFICATE") == count + 1
    assert bundle.count(authority.cert_path.read_text().split()[-4]) == 1


def test_the_bundle_is_rewritten_only_when_it_changed(authority: Authority) -> None:
    bundle = combined_bundle(authority, authority.folder / "bundle.pem")
    before = bundle.stat().st_ino
    assert combined_bundle(authority, bundle).stat().st_ino == before
    bundle.write_text("half of i")
    assert combined_bundle(authority, bundle).stat().st_ino != before


def test_a_shell_that_uses_our_bundle_already_gets_the_same_one(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = combined_bundle(authority, authority.folder / "bundle.pem")
    first = bundle.read_bytes()
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert combined_bundle(authority, bundle).read_bytes() == first


def test_a_ca_that_was_rotated_out_does_not_come_back(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotated = ensure_ca(tmp_path / "old")
    old = combined_bundle(rotated, tmp_path / "old.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(old))
    client = ssl.create_default_context(
        cafile=str(combined_bundle(authority, tmp_path / "new.pem"))
    )
    trusted = client.get_ca_certs(binary_form=True)
    assert ssl.PEM_cert_to_DER_cert(authority.cert_path.read_text()) in trusted
    assert ssl.PEM_cert_to_DER_cert(rotated.cert_path.read_text()) not in trusted


def test_a_private_key_beside_the_system_roots_is_not_copied(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = tmp_path / "mixed.pem"
    mixed.write_bytes(authority.key_path.read_bytes() + Path(certifi.where()).read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(mixed))
    assert b"PRIVATE" not in combined_bundle(authority, tmp_path / "bundle.pem").read_bytes()


def test_a_stale_ssl_cert_file_does_not_cost_the_roots(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    bundle = combined_bundle(authority, tmp_path / "bundle.pem").read_text()
    assert bundle.count("BEGIN CERTIFICATE") > 50


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # of one of the system's roots
def test_the_java_store_holds_the_same_certificates_and_no_key(authority: Authority) -> None:
    path = java_truststore(authority, authority.folder / "trust.p12")
    store = pkcs12.load_pkcs12(path.read_bytes(), TRUSTSTORE_PASSWORD.encode())
    bundle = combined_bundle(authority, authority.folder / "bundle.pem").read_text()
    assert store.key is None
    assert len(store.additional_certs) == bundle.count("BEGIN CERTIFICATE")


def test_the_java_store_is_rewritten_only_when_it_changed(authority: Authority) -> None:
    path = java_truststore(authority, authority.folder / "trust.p12")
    before = path.stat().st_ino
    assert java_truststore(authority, path).stat().st_ino == before
    path.write_bytes(b"half of i")
    assert java_truststore(authority, path).stat().st_ino != before
