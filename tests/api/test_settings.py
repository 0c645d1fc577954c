"""One configuration: flags before environment before file before defaults."""

import re
from pathlib import Path

import pytest

from api.settings import Settings, declared, load, misspelt
from pipeline.errors import InvalidInput

ROOT = Path(__file__).parents[2]
WRONG = ROOT / "tests/api/wrong_settings"
EXAMPLE = ROOT / "docs/meshweir.yaml"


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "meshweir.yaml"
        path.write_text(text)
        return path

    return write


def test_without_anything_the_defaults_hold():
    assert load(flags={}, environment={}) == Settings()


def test_a_flag_goes_before_a_variable_before_the_file(written):
    file = written("api_address: 127.0.0.1:1\ndata: from-file\nlog_level: error")
    environment = {"MESHWEIR_API_ADDRESS": "127.0.0.1:2", "MESHWEIR_DATA": "from-variable"}
    held = load(flags={"api_address": "127.0.0.1:3"}, environment=environment, file=file)
    assert held.api.address == "127.0.0.1:3"
    assert str(held.data) == "from-variable"
    assert held.log_level == "error"


@pytest.mark.parametrize(
    "text",
    [
        "api_address: 127.0.0.1:0\notlp_grpc_address: 127.0.0.1:5",
        "api-address: 127.0.0.1:0\notlp-grpc-address: 127.0.0.1:5",
        "api: {address: '127.0.0.1:0'}\notlp: {grpc: {address: '127.0.0.1:5'}}",
        "api: {address: '127.0.0.1:0'}\ncollectors: {otlp_grpc: {address: '127.0.0.1:5'}}",
    ],
)
def test_keys_may_be_flat_or_nested(written, text):
    held = load(flags={}, environment={}, file=written(text))
    assert held.api.address == "127.0.0.1:0"
    assert held.collectors.otlp_grpc.address == "127.0.0.1:5"


def test_an_empty_file_says_nothing(written):
    assert load(flags={}, environment={}, file=written("# nothing\n")) == Settings()


def test_every_setting_has_a_key_a_variable_and_a_flag_of_one_pattern():
    for setting in declared():
        assert setting.variable == "MESHWEIR_" + setting.key.upper()
        assert setting.flag in {None, "--" + setting.key.replace("_", "-")}
        assert setting.field.description, setting.key


def test_the_keys_that_scripts_rely_on_are_there():
    keys = {setting.key for setting in declared()}
    assert {"data", "api_address", "otlp_grpc_address", "otlp_http_address"} <= keys


def test_only_secrets_have_no_flag():
    secrets = {
        "api_token", "intake_token", "intake_pseudonym_key", "kafka_sasl_password",
        "store_catalog_password", "firehose_access_key",
    }  # fmt: skip
    assert {one.key for one in declared() if one.flag is None} == secrets


@pytest.mark.parametrize("number", ["2", " 2 "])
def test_texts_become_numbers(number):
    held = load(flags={"store_threads": number}, environment={})
    assert held.store.threads == 2


def test_lists_are_separated_by_commas():
    held = load(flags={}, environment={"MESHWEIR_INTAKE_MASKED_KEYS": "a, b,"})
    assert held.collectors.intake.masked_keys == ("a", "b")


def test_an_empty_value_turns_off_what_can_be_off():
    held = load(flags={"otlp_http_address": ""}, environment={})
    assert held.collectors.otlp_http.address is None


@pytest.mark.parametrize("file", sorted(WRONG.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_wrong_file_is_refused_with_its_name_the_key_and_what_is_allowed(file):
    """The first line of each file is a comment: what must be said of it."""
    said = file.read_text().partition("\n")[0].removeprefix("# ")
    with pytest.raises(InvalidInput, match=re.escape(said)) as refusal:
        load(flags={}, environment={}, file=file)
    assert file.name in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "kafka: 'one:9092,two:9092'\nkafka_partitions: 3",
        "kafka: [one:9092, two:9092]\nkafka_partitions: 3",
        "kafka: {bootstrap_servers: [one:9092, two:9092], partitions: 3}",
        "kafka_bootstrap_servers: 'one:9092,two:9092'\nkafka_partitions: 3",
    ],
)
def test_kafka_is_where_kafka_answers_or_a_section(written, text):
    held = load(flags={}, environment={}, file=written(text))
    assert held.kafka.bootstrap_servers == ("one:9092", "two:9092")
    assert held.kafka.partitions == 3


def test_flag_and_variable_of_the_brokers_have_the_short_name():
    held = load(flags={"kafka": "one:1"}, environment={"MESHWEIR_KAFKA": "two:2"})
    assert held.kafka.bootstrap_servers == ("one:1",)
    held = load(flags={}, environment={"MESHWEIR_KAFKA": "two:2, three:3"})
    assert held.kafka.bootstrap_servers == ("two:2", "three:3")
    (named,) = [one for one in declared() if one.key == "kafka"]
    assert (named.flag, named.variable) == ("--kafka", "MESHWEIR_KAFKA")


def test_an_empty_flag_turns_kafka_off_again(written):
    held = load(flags={"kafka": ""}, environment={}, file=written("kafka: one:9092"))
    assert held.kafka.bootstrap_servers == ()


def test_the_example_that_is_documented_is_right_and_says_something():
    held = load(flags={}, environment={}, file=EXAMPLE)
    assert held != Settings()
    assert held.kafka.bootstrap_servers


def test_a_commands_own_default_goes_before_the_general_one_only(written):
    own = {"api_address": "127.0.0.1:8081"}
    assert load(flags={}, environment={}, defaults=own).api.address == "127.0.0.1:8081"
    file = written("api_address: 127.0.0.1:1")
    assert load(flags={}, environment={}, file=file, defaults=own).api.address == "127.0.0.1:1"


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="No such file"):
        load(flags={}, environment={}, file=tmp_path / "none.yaml")


def test_what_is_wrong_is_named_as_it_was_given():
    with pytest.raises(InvalidInput, match="--store-threads: found 'x'"):
        load(flags={"store_threads": "x"}, environment={})
    with pytest.raises(InvalidInput, match="MESHWEIR_STORE_THREADS: found 'x'"):
        load(flags={}, environment={"MESHWEIR_STORE_THREADS": "x"})


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "[::]:8080", "10.0.0.7:80", "example.com:80"])
def test_listening_beyond_loopback_needs_a_token(address):
    with pytest.raises(InvalidInput, match="MESHWEIR_API_TOKEN"):
        load(flags={"api_address": address}, environment={})
    held = load(flags={"api_address": address}, environment={"MESHWEIR_API_TOKEN": "t"})
    assert held.api.bearer_token() == "t"


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.8.8.8:1", "[::1]:8080", "localhost:8080"])
def test_loopback_needs_none(address):
    assert load(flags={"api_address": address}, environment={}).api.bearer_token() is None


def test_a_token_may_stand_in_a_file(tmp_path):
    (tmp_path / "token").write_text("from-file\n")
    held = load(flags={"api_token_file": str(tmp_path / "token")}, environment={})
    assert held.api.bearer_token() == "from-file"


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_token_is_refused(tmp_path, content):
    (tmp_path / "token").write_text(content)
    held = load(flags={"api_token_file": str(tmp_path / "token")}, environment={})
    with pytest.raises(InvalidInput, match="not empty"):
        held.api.bearer_token()


def test_a_token_and_its_file_are_refused_together(tmp_path):
    with pytest.raises(InvalidInput, match="not both"):
        load(flags={"api_token_file": "x"}, environment={"MESHWEIR_API_TOKEN": "hush-hush"})


def test_a_secret_is_not_shown():
    held = load(flags={}, environment={"MESHWEIR_API_TOKEN": "hush-hush"})
    assert "hush-hush" not in repr(held)
    environment = {
        "MESHWEIR_KAFKA_SASL_MECHANISM": "PLAIN",
        "MESHWEIR_KAFKA_SASL_USERNAME": "somebody",
        "MESHWEIR_KAFKA_SASL_PASSWORD": "hush-hush",
    }
    assert "hush-hush" not in repr(load(flags={}, environment=environment))
    del environment["MESHWEIR_KAFKA_SASL_USERNAME"]
    with pytest.raises(InvalidInput, match="kafka_sasl_username") as refusal:
        load(flags={}, environment=environment)
    assert "hush-hush" not in str(refusal.value)


def test_a_misspelt_variable_is_noticed_and_others_are_left_alone():
    environment = {"MESHWEIR_API_ADRESS": "1", "MESHWEIR_PORT": "tcp://1", "MESHWEIR_DATA": "x"}
    assert list(misspelt(environment)) == [("MESHWEIR_API_ADRESS", "MESHWEIR_API_ADDRESS")]


@pytest.mark.parametrize(
    "text", ["tail: [a, b]", "tail: {paths: [a, b]}", "tail:\n  paths: [a, b]"]
)
def test_files_to_follow_are_the_section_itself(tmp_path, text):
    file = tmp_path / "meshweir.yaml"
    file.write_text(text)
    settings = load(flags={}, environment={}, file=file)
    assert settings.collectors.tail.paths == ("a", "b")
    settings = load(flags={"tail": "c"}, environment={}, file=file)
    assert settings.collectors.tail.paths == ("c",)
