"""Settings of Kafka that do not go together."""

import pytest
from pydantic import ValidationError

from pipeline.bus.settings import KafkaSettings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tls_certificate_file": "a.pem"}, "kafka_tls_key_file go together"),
        ({"sasl_mechanism": "PLAIN"}, "needs kafka_sasl_username and a password"),
        ({"sasl_mechanism": "PLAIN", "sasl_username": "a"}, "needs kafka_sasl_username"),
        ({"sasl_username": "a"}, "needs kafka_sasl_mechanism"),
        (
            {
                "sasl_mechanism": "PLAIN",
                "sasl_username": "a",
                "sasl_password": "b",
                "sasl_password_file": "c",
            },
            "not both",
        ),
        ({"sasl_mechanism": "GSSAPI"}, "SCRAM-SHA-256"),
        ({"bootstrap_servers": ("kafka",)}, "bootstrap_servers"),
        ({"bootstrap_servers": ("kafka:9092,other:9092",)}, "bootstrap_servers"),
        ({"topic_prefix": "a b"}, "topic_prefix"),
        ({"partition": 4}, "partition"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        KafkaSettings.model_validate(given)


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in KafkaSettings.model_fields.values())
