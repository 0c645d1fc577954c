"""TLS of listeners that are not HTTP: certificates of the server, and of its clients."""

import ssl
from pathlib import Path

from pipeline.errors import InvalidInput


def server_context(
    certificate: Path, key: Path, client_ca: Path | None, *, field: str
) -> ssl.SSLContext:
    """A context that shows a certificate, and with a client CA demands one.

    Args:
        certificate: PEM file of the chain.
        key: PEM file of its private key, without a passphrase.
        client_ca: PEM file of the authorities of clients.
        field: what the keys of the settings begin with, for errors.

    Raises:
        InvalidInput: a file cannot be read, or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # a passphrase would be asked for on the terminal
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{field}_certificate_file",
            found=f"{certificate} and {key}",
            allowed=f"PEM files of a certificate and its own key, without a passphrase ({error})",
        ) from error
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"{field}_client_ca_file",
                found=str(client_ca),
                allowed=f"a PEM file of certificates ({error})",
            ) from error
    return context
