"""Access records that Apigee's proxies post themselves: from JavaScript, or by a ServiceCallout.

Apigee has no access log, and its MessageLogging policy writes no HTTP. What a proxy posts has the
same names as what that policy writes. Nobody there reads the answer. Source: Apigee's
``javascript-object-model`` (``httpClient``) and ``service-callout-policy``.
"""

from typing import Final

from collectors.json_webhook import Webhook

APIGEE_HTTP: Final = Webhook(
    what="Apigee over HTTP",
    source="apigee_http",
    format="apigee",
    path="/apigee",
)
