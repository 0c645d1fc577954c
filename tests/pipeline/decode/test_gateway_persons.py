"""Persons planted in every field of what API gateways write are in no message and in no row."""

import orjson
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.decode import DECODERS
from pipeline.decode.gates.line_gate import admit_lines
from pipeline.decode.privacy.masking import MaskedKeys
from pipeline.decode.privacy.persons import Persons
from pipeline.decode.privacy.text_persons import TextPersons
from pipeline.model.personal_fields import PersonalData
from tests.pipeline.decode.gateway_rows import rows
from tests.pipeline.decode.test_gateway_secrets import FORMATS, HERE, leaves, planted, record

PERSONS = Persons(b"a key of the test")
MASKED = MaskedKeys(persons=PERSONS)
EMAIL = "Zoe.Quxford+x@example-mail.org"
NAME = "zquxford"
IN_TEXT = (
    EMAIL,
    f"/users/{EMAIL}/orders?x=1",
    f"https://host/u?mail={EMAIL.replace('@', '%40')}&a=1",
    f"mailto:{EMAIL}, and more",
    f'{{"who":"{EMAIL}"}}',
)
NAMED = {
    "kong_json": [
        ("client_ip",),
        *(
            ("request", "headers", name)
            for name in ("x-forwarded-for", "X-Real-IP", "forwarded", "x-authenticated-userid")
        ),
    ],
    "aws_apigateway": [
        ("ip",), ("sourceIp",), ("identity", "sourceIp"), ("identity.sourceIp",),
        ("identity_source_ip",), ("identitySourceIp",), ("caller",), ("user",),
        ("identity", "user"), ("userArn",), ("context.identity.userArn",), ("principalId",),
        ("authorizer.principalId",), ("authorizer", "principalId"), ("sub",),
        ("authorizer", "claims", "sub"), ("authorizer", "claims", "name"),
        ("authorizer", "jwt", "claims", "sub"), ("authorizer.claims.given_name",),
        ("authorizer.tenantOwner",), ("identity.cognitoIdentityId",), ("claims.sub",),
    ],
    "apigee": [
        (*holder, name)
        for holder in ((), ("jsonPayload",))
        for name in (
            "developer.email", "developer_email", "developer.id", "developer", "client.ip",
            "client_ip", "ax_resolved_client_ip", "ax_true_client_ip", "proxy_client_ip",
            "x_forwarded_for_ip", "request.header.x-forwarded-for", "client.resolved.ip",
        )
    ],
}  # fmt: skip


def check(name, message, told):
    assert told.encode() in message
    admitted = admit_lines(name, message, MASKED)
    assert len(admitted.body) == len(message)
    assert told.encode() not in admitted.body, admitted.body
    assert told not in str(rows(DECODERS[name]([admitted.body])))
    assert told not in str(admitted.refused)
    assert admit_lines(name, admitted.body, MASKED).body == admitted.body
    return admitted


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", IN_TEXT, ids=range(len(IN_TEXT)))
def test_e_mail_addresses_are_hidden_wherever_they_stand(name, shape):
    for number in range(3):
        whole = record(name, number)
        for path in leaves(whole):
            check(name, orjson.dumps(planted(whole, path, shape)), "Quxford")


@pytest.mark.parametrize("name", FORMATS)
def test_personal_fields_are_hidden_whatever_they_hold(name):
    for path in NAMED[name]:
        whole = record(name)
        kept = admit_lines(name, orjson.dumps(planted(whole, path, "-")), MASKED).records
        for value in (NAME, [NAME, "x"], {"first": NAME}, f'"{NAME}\\'):
            admitted = check(name, orjson.dumps(planted(whole, path, value)), NAME)
            assert admitted.records == kept
            cut = orjson.dumps(planted({}, path, value))[:-1]
            after = check(name, cut + b"\n" + orjson.dumps(whole) + b"\n", NAME)
            assert after.records == 1


@pytest.mark.parametrize("name", FORMATS)
def test_numbers_that_are_personal_stay_numbers(name):
    for path in NAMED[name]:
        message = orjson.dumps(planted(record(name), path, 7612345908))
        admitted = admit_lines(name, message, MASKED)
        assert b"7612345908" not in admitted.body
        orjson.loads(admitted.body)


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
@settings(max_examples=40)
def test_whatever_stands_there_json_stays_json_and_names_stay(name, data):
    path = data.draw(st.sampled_from(NAMED[name]))
    value = data.draw(
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
            max_leaves=6,
        )
    )
    message = orjson.dumps(planted(record(name), path, value))
    told = orjson.loads(TextPersons(name, PERSONS).hide(message))
    assert names_of(told) == names_of(orjson.loads(message))


def names_of(value):
    if isinstance(value, dict):
        return {key: names_of(inner) for key, inner in value.items()}
    return [names_of(inner) for inner in value] if isinstance(value, list) else None


@pytest.mark.parametrize("name", FORMATS)
def test_hiding_loses_no_record_and_changes_no_count(name):
    message = (HERE / f"golden/{name}.in.jsonl").read_bytes()
    admitted = admit_lines(name, message, MASKED)
    told = rows(DECODERS[name]([message]))
    hidden = rows(DECODERS[name]([admitted.body]))
    assert len(hidden) == len(told)
    personal = {"downstream_remote_address", "consumer", "attributes", "url_path", "user_agent"}
    for before, after in zip(told, hidden, strict=True):
        assert {k: v for k, v in before.items() if k not in personal} == {
            k: v for k, v in after.items() if k not in personal
        }
        assert (before.get("consumer") is None) == (after.get("consumer") is None)


def consumer(name, path, value, masked=MASKED):
    message = orjson.dumps(planted(record(name), path, value))
    (row,) = rows(DECODERS[name]([admit_lines(name, message, masked).body]))
    return row["consumer"]


def test_a_consumer_that_is_a_person_is_one_consumer_and_has_no_name():
    bob, eve = "bob@example.com", "eve@example.com"
    told = consumer("kong_json", ("consumer", "username"), bob)
    assert told.startswith("user:person-")
    assert told == consumer("kong_json", ("consumer", "username"), bob)
    assert told != consumer("kong_json", ("consumer", "username"), eve)
    other = MaskedKeys(persons=Persons(b"another key of the test"))
    assert told != consumer("kong_json", ("consumer", "username"), bob, other)


def test_what_is_no_person_stays_as_it_is():
    text = (
        '{"tries":[{"ip":"10.0.0.9"}],"service":{"host":"a.b.svc"},"request":{"uri":"/npm/x@1.2.3",'
        '"url":"git@host","id":"a@b"},"client_ip":"-","x_client_ip_count":3}'
    )
    assert TextPersons("kong_json", PERSONS).hide(text.encode()).decode() == text
    aws = (
        '{"resourcePath":"/users/{id}","resource_path":"/users/42","userAgent":"curl/8 (user)",'
        '"authorizer.latency":"12","authorizer.status":"200","path":"/prod/orders/list"}'
    )
    assert TextPersons("aws_apigateway", PERSONS).hide(aws.encode()).decode() == aws


def test_ids_in_paths_of_api_gateway_are_hidden():
    text = b'{"path":"/prod/users/1042981/orders/5f2c9a1e77/x?y=1"}'
    hidden = TextPersons("aws_apigateway", PERSONS).hide(text)
    assert hidden.startswith(b'{"path":"/prod/users/@')
    assert b"1042981" not in hidden
    assert b"5f2c9a1e77" not in hidden
    assert hidden.endswith(b'/x?y=1"}')


def test_queries_of_apigees_uris_are_dropped():
    text = b'{"request_uri":"/a?who=bob","request.uri":"/a?b","uri_count":"a?b"}'
    assert TextPersons("apigee", PERSONS).hide(text) == (
        b'{"request_uri":"/a?*******","request.uri":"/a?*","uri_count":"a?b"}'
    )


def test_what_becomes_of_persons_can_be_chosen():
    text = b'{"client_ip":"10.0.0.7","badge_no":"B17"}'
    assert TextPersons("kong_json", Persons(b"key", PersonalData.KEEP)).hide(text) == text
    dropped = TextPersons("kong_json", Persons(b"key", PersonalData.DROP, ["badge-no"]))
    assert dropped.hide(text) == b'{"client_ip":"********","badge_no":"***"}'


def test_further_fields_count_in_every_format_of_json():
    line = b'{"start_time":"2026-03-02T10:15:33Z","response_code":200,"x-employee":"E1234567"}'
    masked = MaskedKeys(persons=Persons(b"a key of the test", fields=["X-Employee"]))
    admitted = admit_lines("envoy_json", line, masked)
    assert b"E1234567" not in admitted.body
    assert PERSONS.pseudonym("E1234567").encode() in admitted.body
