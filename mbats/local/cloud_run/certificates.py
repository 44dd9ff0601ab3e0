"""A certificate authority of this machine alone, and the certificate of its Google.

It may vouch for names below googleapis.com, nothing else; only processes that are pointed at it
believe it. Its key stays in its folder, readable by its owner.
It outlives the server, so that clients which started before a restart still believe the new one.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

GOOGLE = "googleapis.com"
_LIFE = timedelta(days=365)
_RENEW = timedelta(days=30)


@dataclass(frozen=True)
class Certificates:
    """Files in PEM: the authority that clients trust, and the server's chain and key."""

    authority: Path
    chain: Path
    key: Path


def ensure(folder: Path, now: datetime) -> Certificates:
    """Return the certificates in ``folder``; make those that are missing or about to expire."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority, authority_key = folder / "ca.pem", folder / "ca-key.pem"
    if not _is_good(authority, authority_key, now):
        _make_authority(authority, authority_key, now)
    made = Certificates(authority, folder / "server.pem", folder / "server-key.pem")
    _make_server(made, authority_key, now)
    return made


def _is_good(certificate: Path, key: Path, now: datetime) -> bool:
    try:
        read = x509.load_pem_x509_certificate(certificate.read_bytes())
        serialization.load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError):
        return False
    return read.not_valid_after_utc > now + _RENEW


def _make_authority(file: Path, key_file: Path, now: datetime) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), _name("MBATS local Cloud Run")
    permitted = [x509.DNSName(GOOGLE)]  # gRPC knows constraints on names, not on addresses
    made = (
        _builder(name, name, key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_key(key_file, key)
    _write(file, [made])


def _make_server(files: Certificates, authority_key: Path, now: datetime) -> None:
    authority = x509.load_pem_x509_certificate(files.authority.read_bytes())
    signer = serialization.load_pem_private_key(authority_key.read_bytes(), None)
    identity = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName(f"*.{GOOGLE}")]
    made = (
        _builder(_name("MBATS local Google"), authority.subject, key, now)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identity),
            critical=False,
        )
        .sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    )
    _write_key(files.key, key)
    _write(files.chain, [made, authority])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFE)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(file: Path, certificates: Sequence[x509.Certificate]) -> None:
    encoded = [each.public_bytes(serialization.Encoding.PEM) for each in certificates]
    draft = file.with_suffix(".new")
    draft.write_bytes(b"".join(encoded))
    draft.replace(file)


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> None:
    encoded = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(encoded)
