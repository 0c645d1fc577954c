"""What Kong's plugin http-log sends: a record, or with ``queue.max_batch_size`` over 1 an array.

Kong takes a status under 300 for yes; anything else it sends again for ``queue.max_retry_time``,
while its queue fills up behind. Source: Kong's ``kong/plugins/http-log`` and
``kong/tools/queue.lua`` (3.10).
"""

from typing import Final

from collectors.json_webhook import Webhook

KONG_HTTP_LOG: Final = Webhook(
    what="Kong's http-log",
    source="kong_http_log",
    format="kong_json",
    path="/kong",
    methods=("POST", "PUT", "PATCH"),
)
"""The plugin's option ``method`` says which of the three it uses."""
