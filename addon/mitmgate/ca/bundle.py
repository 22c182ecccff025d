"""Trust stores for programs that replace their roots instead of adding one: PEM and Java.

Both hold the roots that this host trusts already, and our CA; never a key.
"""

from __future__ import annotations

import os
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import NameOID

from mitmgate.ca.authority import ORGANIZATION, Authority
from mitmgate.ca.storage import update, write_whole

BUNDLE_FILE = "mitmgate-bundle.pem"
TRUSTSTORE_FILE = "mitmgate-truststore.p12"
TRUSTSTORE_PASSWORD = "changeit"  # Java wants one, and nothing in there is secret

_ALIAS = "mitmgate"
_BEGIN = "-----BEGIN CERTIFICATE-----"
_END = "-----END CERTIFICATE-----"
_USUAL_PLACES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS
)


def combined_bundle(authority: Authority, destination: Path) -> Path:
    """Write the system's roots and our CA to *destination* as PEM, when they changed."""
    roots = (cert.public_bytes(Encoding.PEM) for cert in _roots(authority))
    update(destination, b"".join(roots), mode=0o644)
    return destination


def java_truststore(authority: Authority, destination: Path) -> Path:
    """Write the same certificates to *destination* as a PKCS #12 trust store for Java."""
    roots = _roots(authority)
    if _stored(destination) != {cert.public_bytes(Encoding.DER) for cert in roots}:
        entries = [
            pkcs12.PKCS12Certificate(cert, f"{_ALIAS}-{number}".encode())
            for number, cert in enumerate(roots)
        ]
        encryption = BestAvailableEncryption(TRUSTSTORE_PASSWORD.encode())
        write_whole(destination, pkcs12.serialize_java_truststore(entries, encryption), mode=0o644)
    return destination


def _stored(path: Path) -> set[bytes]:
    try:
        with _odd_serials_allowed():
            store = pkcs12.load_pkcs12(path.read_bytes(), TRUSTSTORE_PASSWORD.encode())
    except (OSError, ValueError):
        return set()  # not there or damaged: it is written anew
    return {entry.certificate.public_bytes(Encoding.DER) for entry in store.additional_certs}


def _roots(authority: Authority) -> list[x509.Certificate]:
    """Return our CA, then the system's roots; each once, none from another mitmgate."""
    ours = x509.load_pem_x509_certificate(authority.cert_path.read_bytes())
    # SSL_CERT_FILE may be a bundle that we wrote earlier: a CA that was rotated out for a
    # leaked key must not come back through it.
    system = (cert for cert in _system_roots() if not _is_mitmgate(cert))
    return list(dict.fromkeys([ours, *system]))


def _is_mitmgate(cert: x509.Certificate) -> bool:
    owners = cert.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return any(owner.value == ORGANIZATION for owner in owners)


def _system_roots() -> list[x509.Certificate]:
    for place in _places():
        try:
            text = Path(place).read_text("utf-8", errors="replace")
        except OSError:
            continue  # a stale SSL_CERT_FILE must not leave the user without roots
        roots = _certificates(text)
        if any(not _is_mitmgate(cert) for cert in roots):
            return roots
    return []


def _places() -> Iterator[str]:
    yield from filter(None, [os.environ.get("SSL_CERT_FILE")])
    yield ssl.get_default_verify_paths().openssl_cafile
    yield from _USUAL_PLACES
    yield certifi.where()


def _certificates(text: str) -> list[x509.Certificate]:
    found: list[x509.Certificate] = []
    # Block by block: a private key in that file is not copied, and one odd root spoils nothing.
    for part in text.split(_BEGIN)[1:]:
        block, end, _ = part.partition(_END)
        with suppress(ValueError), _odd_serials_allowed():
            cert = x509.load_pem_x509_certificate(f"{_BEGIN}{block}{end}\n".encode())
            _ = cert.subject  # parsed lazily: a broken one raises here
            found.append(cert)
    return found


@contextmanager
def _odd_serials_allowed() -> Iterator[None]:
    # Hosts do trust roots whose serial number is zero or negative; we copy what they trust.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        yield
