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
    "client_id",
    "clientcertpem",
    "querystring",
    "message.content",
    "request.content",
    "response.content",
)
"""Header names as OpenTelemetry writes them, and bare, as header maps of access logs do. The last
ones are what API gateways log: the key of an Apigee application, the certificate of AWS's client,
Kong's parsed query, bodies."""

SECRET_WORDS: Final = (
    "authorization",
    "cookie",
    "apikey",
    "api-key",
    "token",
    "secret",
    "passw",
    "pwd",
    "signature",
    "credential",
    "access-key",
    "accesskey",
    "private-key",
    "privatekey",
    "session-id",
    "sessionid",
    "jwt",
)
"""What makes a name in a line of text the name of a secret, wherever in the name it stands; ``-``
and ``_`` are the same."""

KEY_IDS: Final = ("key-id", "keyid")
"""Last words of names that are not secret although they have such a word in them: who a key is."""

SECRET_PARAMETERS: Final = (
    "key", "sig", "auth", "pass", "code", "session", "sid", "otp", "ticket", "assertion",
)  # fmt: skip
"""Last words of query parameters and cookies that are secret, too."""

URL_HEADERS: Final = (
    ":path", "referer", "location", "content-location", "x-envoy-original-path", "x-original-uri",
    "x-original-url", "x-forwarded-uri", "x-rewrite-url",
)  # fmt: skip
"""Headers that hold a URL: what follows the path may be secret."""

URL_KEYS: Final = (
    "url.full", "url.query", "url.original", "http.url", "http.target",
    *URL_HEADERS,
    *(f"http.request.header.{name}" for name in URL_HEADERS),
    *(f"http.response.header.{name}" for name in URL_HEADERS),
)  # fmt: skip
"""Attributes and headers that hold a URL or its query: what is secret in it is masked, the rest
stays. Source: OpenTelemetry's semantic conventions ``url`` and ``http``, old and new, and the
headers that proxies keep a request's target in."""
