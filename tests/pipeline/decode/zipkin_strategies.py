"""Spans of Zipkin, told as its JSON tells them: good ones, and ones that must be refused."""

from hypothesis import strategies as st

NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
SPAN_IDS = st.integers(0, 2**64 - 1).map("{:016x}".format)
TRACE_IDS = st.one_of(SPAN_IDS, st.integers(0, 2**128 - 1).map("{:032x}".format))
TIMES = st.one_of(
    st.integers(0, 2**63 // 1000 + 2), st.integers(1_700_000_000_000_000, 1_800_000_000_000_000)
)
TAGS = st.dictionaries(
    st.one_of(
        NAMES,
        st.sampled_from(["error", "http.method", "otel.status_code", "otel.scope.name", "Cookie"]),
    ),
    NAMES,
    max_size=4,
)
ENDPOINTS = st.fixed_dictionaries(
    {},
    optional={
        "serviceName": NAMES,
        "ipv4": st.ip_addresses(v=4).map(str),
        "ipv6": st.ip_addresses(v=6).map(str),
        "port": st.integers(0, 65535),
    },
)
SPANS = st.fixed_dictionaries(
    {"traceId": TRACE_IDS, "id": SPAN_IDS},
    optional={
        "parentId": SPAN_IDS,
        "kind": st.sampled_from(["CLIENT", "SERVER", "PRODUCER", "CONSUMER"]),
        "name": NAMES,
        "timestamp": TIMES.filter(bool),
        "duration": TIMES,
        "localEndpoint": ENDPOINTS,
        "remoteEndpoint": ENDPOINTS,
        "annotations": st.lists(
            st.fixed_dictionaries({"timestamp": TIMES, "value": NAMES}), max_size=2
        ),
        "tags": TAGS,
        "debug": st.booleans(),
        "shared": st.booleans(),
    },
)
"""In protobuf nothing is told that is zero, so no time here is."""
