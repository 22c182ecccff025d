"""The CA itself: an EC P-256 key that is made once and signs a certificate per host.

The files carry the names under which mitmproxy's certificate store looks for them.
"""

from __future__ import annotations

import shlex
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mitmgate.ca.storage import (
    check_private_file,
    only_one_writer,
    private_folder,
    update,
    write_whole,
)
from mitmgate.errors import ConfigError, Problem

KEY_FILE = "mitmproxy-ca.pem"
CERT_FILE = "mitmproxy-ca-cert.pem"
ORGANIZATION = "mitmgate"
LIFETIME = timedelta(days=730)
CLOCK_SKEW = timedelta(days=2)  # a virtual machine that wakes up may live in yesterday

_COMMON_NAME_LIMIT = 64  # ub-common-name, RFC 5280 appendix A.1


@dataclass(frozen=True, slots=True)
class Authority:
    """A usable CA. ``fingerprint`` is SHA-256 over the certificate, as colon-separated hex."""

    cert_path: Path
    key_path: Path
    subject: str
    fingerprint: str
    not_before: datetime
    not_after: datetime

    @property
    def folder(self) -> Path:
        """Where the CA and everything made from it lives."""
        return self.cert_path.parent


def ensure_ca(folder: Path, *, now: datetime | None = None) -> Authority:
    """Return the CA in *folder*; make one when there is none, and refuse a bad one."""
    moment = now or datetime.now(UTC)
    private_folder(folder)
    with only_one_writer(folder):
        if not (folder / KEY_FILE).exists():
            write_whole(folder / KEY_FILE, _new_authority(moment), mode=0o600)
        return _load(folder, moment)


def _load(folder: Path, now: datetime) -> Authority:
    key_path, cert_path = folder / KEY_FILE, folder / CERT_FILE
    check_private_file(key_path)
    cert = _read(key_path)
    if cert.not_valid_after_utc <= now:
        day = cert.not_valid_after_utc.date().isoformat()
        raise _unusable(key_path, f"this CA expired on {day}")
    # a copy of what the key file holds: a crash between the two files heals itself here
    update(cert_path, cert.public_bytes(Encoding.PEM), mode=0o644)
    return Authority(
        cert_path=cert_path,
        key_path=key_path,
        subject=_common_name(cert),
        fingerprint=cert.fingerprint(hashes.SHA256()).hex(":").upper(),
        not_before=cert.not_valid_before_utc,
        not_after=cert.not_valid_after_utc,
    )


def _read(path: Path) -> x509.Certificate:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from error
    try:
        key = load_pem_private_key(data, password=None)
        cert = x509.load_pem_x509_certificate(data)
        authority = cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise _unusable(path, "is damaged: no private key and CA certificate in it") from error
    if not authority:
        raise _unusable(path, "holds a certificate that may not sign others")
    if key.public_key() != cert.public_key():
        raise _unusable(path, "holds a key and a certificate that do not belong together")
    return cert


def _unusable(path: Path, message: str) -> ConfigError:
    aside = path.parent.with_name(f"{path.parent.name}.old")
    move = f"mv {shlex.quote(str(path.parent))} {shlex.quote(str(aside))}"
    hint = f"to get a new one, run: {move}; every host must then trust the new one"
    return ConfigError(Problem(message, file=str(path), hint=hint))


def _common_name(cert: x509.Certificate) -> str:
    names = cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else cert.subject.rfc4514_string()


def _new_authority(now: datetime) -> bytes:
    """Return a new private key and its certificate, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    cert = self_signed(key, _name(now), now)
    private = key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, encryption_algorithm=NoEncryption()
    )
    return private + cert.public_bytes(Encoding.PEM)


def _name(now: datetime) -> x509.Name:
    # The host and the day tell a person which of several CAs in a trust store this is.
    suffix = f" ({now.date().isoformat()})"
    start = f"mitmgate CA on {socket.gethostname()}"
    common_name = start[: _COMMON_NAME_LIMIT - len(suffix)] + suffix
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
        ]
    )


def self_signed(
    key: ec.EllipticCurvePrivateKey, name: x509.Name, now: datetime
) -> x509.Certificate:
    """Return the certificate of a CA that signs hosts, and itself."""
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        # path_length 0: it signs hosts, and can never make another CA
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
