"""Certificates for the demo's mesh: one authority and one identity per service, made at start.

Keys are written once, readable by their owner only, and die with the demo's directory.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE: Final = timedelta(days=1)
"""How long a certificate is valid; a demo is over sooner."""

SKEW: Final = timedelta(minutes=5)
"""How far before now validity begins, for clocks that are stepped back meanwhile."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Paths of the PEM files of one identity."""

    certificate: Path
    key: Path
    authority: Path


class Authority:
    """A certificate authority that lives in one directory and keeps its own key in memory."""

    def __init__(self, directory: Path, *, trust_domain: str) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, trust_domain)])
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = directory / "authority.pem"
        builder = (
            self._builder(self._key.public_key())
            .subject_name(self._name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")]
                ),
                critical=False,
            )
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        self._path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(self, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - SKEW)
            .not_valid_after(now + LIFE)
        )

    def issue(self, instance: str, spiffe: str) -> Identity:
        """Make a key and a certificate for ``spiffe``, in files named after ``instance``."""
        key = ec.generate_private_key(ec.SECP256R1())
        # SPIFFE X509-SVID: the URI is the identity, the subject stays empty, so the SAN is critical
        certificate = (
            self._builder(key.public_key())
            .subject_name(x509.Name([]))
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe)]), critical=True
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        identity = Identity(
            self._directory / f"{instance}.pem", self._directory / f"{instance}.key", self._path
        )
        identity.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        identity.key.touch(mode=0o600)
        identity.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return identity
