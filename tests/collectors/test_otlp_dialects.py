"""OTLP/JSON as Tempo, Kiali and older tools write it."""

import orjson

from collectors.otlp_dialects import standard
from tests.recordings import shared


def test_base64_ids_and_old_names_become_standard() -> None:
    value = {
        "batches": [
            {
                "instrumentationLibrarySpans": [
                    {
                        "instrumentationLibrary": {"name": "lib"},
                        "spans": [
                            {
                                "traceId": "O6VWCcPN5JZJzXfR+dzZNg==",
                                "spanId": "Sc130fnc2TY=",
                                "attributes": [
                                    {"key": "traceId", "value": {"stringValue": "AA=="}}
                                ],
                            }
                        ],
                    }
                ]
            }
        ]
    }
    assert standard(value) == (
        {
            "resourceSpans": [
                {
                    "scopeSpans": [
                        {
                            "scope": {"name": "lib"},
                            "spans": [
                                {
                                    "traceId": "3ba55609c3cde49649cd77d1f9dcd936",
                                    "spanId": "49cd77d1f9dcd936",
                                    "attributes": [
                                        {"key": "traceId", "value": {"stringValue": "AA=="}}
                                    ],
                                }
                            ],
                        }
                    ]
                }
            ]
        },
        True,
    )


def test_what_is_standard_already_is_left_alone() -> None:
    path = shared("data/otlp-corpus/otlp-json/opentelemetry-proto/trace.json")
    value = orjson.loads(path.read_bytes())
    assert standard(value) == (orjson.loads(path.read_bytes()), False)


def test_ids_that_are_neither_are_left_for_the_door_to_refuse() -> None:
    value = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "???", "spanId": 5}]}]}]}
    assert standard(value)[1] is False


def test_the_wrapping_of_tempo_is_taken_off() -> None:
    assert standard({"trace": {"resourceSpans": []}}) == ({"resourceSpans": []}, True)
