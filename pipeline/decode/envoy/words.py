"""Envoy's enumerations and flags as the words people know them by.

Sources: ``envoy/data/accesslog/v3/accesslog.proto``, ``envoy/config/core/v3/base.proto``, and for
the short names of flags ``source/common/stream_info/utility.h`` of envoyproxy/envoy.
"""

from typing import Final

HTTP_VERSIONS: Final = {1: "HTTP/1.0", 2: "HTTP/1.1", 3: "HTTP/2", 4: "HTTP/3"}

TLS_VERSIONS: Final = {1: "TLSv1", 2: "TLSv1.1", 3: "TLSv1.2", 4: "TLSv1.3"}

REQUEST_METHODS: Final = {
    1: "GET",
    2: "HEAD",
    3: "POST",
    4: "PUT",
    5: "DELETE",
    6: "CONNECT",
    7: "OPTIONS",
    8: "TRACE",
    9: "PATCH",
}

UNAUTHORIZED: Final = 13
"""The one field of ResponseFlags that is a message: being there is the flag."""

RESPONSE_FLAGS: Final = {
    1: "LH",
    2: "UH",
    3: "UT",
    4: "LR",
    5: "UR",
    6: "UF",
    7: "UC",
    8: "UO",
    9: "NR",
    10: "DI",
    11: "FI",
    12: "RL",
    UNAUTHORIZED: "UAEX",
    14: "RLSE",
    15: "DC",
    16: "URX",
    17: "SI",
    18: "IH",
    19: "DPE",
    20: "UMSDR",
    21: "RFCF",
    22: "NFCF",
    23: "DT",
    24: "UPE",
    25: "NC",
    26: "OM",
    27: "DF",
    28: "DR",
}
"""Field number of ResponseFlags to short name, in the order in which they are joined."""
