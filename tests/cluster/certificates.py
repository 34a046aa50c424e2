"""A certificate authority for one test control plane, and the certificates that it signs."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = datetime.timedelta(days=2)
# A clock that another machine sets back a little must not make a new certificate invalid.
BACKDATED = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class KeyPair:
    """Two PEM files: a certificate (or, for service accounts, a public key) and its private key."""

    public: Path
    private: Path


@dataclass(frozen=True)
class Authority:
    """Signs client and server certificates; writes everything into `folder`."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    valid: datetime.timedelta = VALID

    @classmethod
    def new(cls, folder: Path, now: datetime.datetime, valid: datetime.timedelta = VALID) -> Authority:
        """An authority that signs for `valid`, from `now` on, as its own certificate is valid."""
        key = _key()
        name = _name("thaw-test-ca")
        certificate = (
            _builder(name, name, key.public_key(), now, valid)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        _write(folder / "ca.crt", certificate.public_bytes(serialization.Encoding.PEM))
        return cls(folder, key, certificate, valid)

    @property
    def path(self) -> Path:
        return self.folder / "ca.crt"

    def server(self, file: str, addresses: list[str], names: list[str]) -> KeyPair:
        """A certificate for a server that is reached at these IP addresses and DNS names."""
        alternatives = x509.SubjectAlternativeName(
            [
                *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
                *(x509.DNSName(name) for name in names),
            ]
        )
        return self._issue(file, _name(file), ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def client(self, file: str, user: str, groups: list[str]) -> KeyPair:
        """A certificate that Kubernetes reads as this user, a member of these groups."""
        return self._issue(file, _name(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(
        self,
        file: str,
        subject: x509.Name,
        usage: x509.ObjectIdentifier,
        alternatives: x509.SubjectAlternativeName | None = None,
    ) -> KeyPair:
        key = _key()
        start = self.certificate.not_valid_before_utc + BACKDATED
        builder = _builder(subject, self.certificate.subject, key.public_key(), start, self.valid).add_extension(
            x509.ExtendedKeyUsage([usage]), critical=False
        )
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        pair = KeyPair(self.folder / f"{file}.crt", self.folder / f"{file}.key")
        _write(pair.public, certificate.public_bytes(serialization.Encoding.PEM))
        _write(pair.private, _private_pem(key))
        return pair


def signing_keys(folder: Path, file: str) -> KeyPair:
    """A bare key pair, as the one that signs service-account tokens."""
    key = _key()
    pair = KeyPair(folder / f"{file}.pub", folder / f"{file}.key")
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _write(pair.public, public)
    _write(pair.private, _private_pem(key))
    return pair


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(common_name: str, organizations: list[str] | None = None) -> x509.Name:
    return x509.Name(
        [
            *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations or []),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    valid: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + valid)
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
