"""Attribute keys whose values are credentials: masked at the door where nothing else is said."""

from typing import Final

_HEADERS: Final = (
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "api-key",
    "apikey",
    "x-auth-token",
    "x-amz-security-token",
    "x-forwarded-client-cert",
)

SECRET_KEYS: Final = (
    *_HEADERS,
    *(f"http.request.header.{name}" for name in _HEADERS),
    "set-cookie",
    "http.response.header.set-cookie",
    "password",
    "passwd",
    "secret",
    "access_token",
    "refresh_token",
    "client_secret",
)
"""Header names as OpenTelemetry writes them, and bare, as header maps of access logs do."""

_APIGEE: Final = (
    *(f"request.header.{name}" for name in _HEADERS),
    "request.header.authorization.values",
    "request.header.authorization.values.string",
    *(f"request.queryparam.{name}" for name in ("apikey", "api_key", "key", "access_token")),
    "client_id",
    "clientid",
    "message.content",
    "request.content",
    "response.content",
    "error.content",
)
_AWS: Final = (
    "identity.apikey",
    "identity_apikey",
    "identity_api_key",
    "accesskey",
    "access_key",
    "identity.accesskey",
    "clientcertpem",
    "client_cert_pem",
    "identity.clientcert.clientcertpem",
    "x-amz-firehose-access-key",
    "x-amzn-oidc-data",
    "x-amzn-oidc-accesstoken",
)

GATEWAY_SECRET_KEYS: Final = (
    *_APIGEE,
    *_AWS,
    "api_key",
    "token",
    "id_token",
    "x-access-token",
    "x-csrf-token",
    "x-xsrf-token",
    "x-goog-api-key",
    "x-goog-iap-jwt-assertion",
    "kong-admin-token",
)
"""Names in the records of API gateways whose values are credentials or bodies; letter case does not
matter. In query strings names are told by the words in them, see ``decode.json_mask``."""
