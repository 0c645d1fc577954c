"""Certificates: one name, one authority, one owner."""

import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from api.demo.certificates import Authority

SPIFFE = "spiffe://demo.test/ns/shop/sa/cart"


@pytest.fixture
def identity(tmp_path):
    return Authority(tmp_path, trust_domain="demo.test").issue("cart-v1", SPIFFE)


def test_the_identity_is_the_only_name_and_the_authority_vouches_for_it(identity):
    leaf = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
    root = x509.load_pem_x509_certificate(identity.authority.read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert names.value.get_values_for_type(x509.UniformResourceIdentifier) == [SPIFFE]
    assert len(leaf.subject.rdns) == 0
    leaf.verify_directly_issued_by(root)


def test_another_authority_does_not_vouch_for_it(identity, tmp_path):
    Authority(tmp_path / "other", trust_domain="demo.test")
    leaf = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
    other = x509.load_pem_x509_certificate((tmp_path / "other/authority.pem").read_bytes())
    with pytest.raises(Exception, match=r"(?i)signature|^$"):
        leaf.verify_directly_issued_by(other)


def test_the_key_fits_and_only_its_owner_reads_it(identity):
    leaf = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
    key = serialization.load_pem_private_key(identity.key.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.public_key() == leaf.public_key()
    assert stat.S_IMODE(identity.key.stat().st_mode) == 0o600
