"""CloudEvents in Kafka's binary mode: round trips, openness, and errors that name no value."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from chikaya_contracts import messages
from chikaya_contracts.envelope import Event, Undecodable, decode, encode
from chikaya_contracts.golden import Example
from chikaya_contracts.messages.administration import Acknowledge
from chikaya_contracts.messages.intake import ComplaintSubmitted
from chikaya_contracts.messages.requests import Supplement
from hypothesis import given
from hypothesis import strategies as st

TYPE = Supplement.TYPE
VALUE = {"complaint_id": "c-1", "at": "2026-03-02T10:00:00Z", "by": "citizen", "text": "ما كاين والو"}
HEADERS = {
    "ce_specversion": "1.0",
    "ce_id": "e-1",
    "ce_source": "/tracking",
    "ce_type": TYPE,
    "ce_time": "2026-03-02T10:00:00+00:00",
    "ce_subject": "c-1",
    "content-type": "application/json",
}


def decoded(value: Any = VALUE, headers: dict[str, str] = HEADERS) -> Event[Any] | None:
    body = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    return decode(
        "complaints.requests.v1", body, [(name, text.encode()) for name, text in headers.items()], messages.ALL
    )


def test_what_is_encoded_is_decoded_again(example: Example) -> None:
    event = decode(example.topic, example.kafka_value, example.kafka_headers, messages.ALL)
    assert event is not None
    topic, key, value, headers = encode(event)
    assert decode(topic, value, headers, messages.ALL) == event
    assert (topic, key.decode()) == (example.topic, example.key)
    assert {name: text.decode() for name, text in headers} == example.headers
    assert {**json.loads(value), **example.value} == json.loads(value), "a field of the example was lost"


def _with_unknown(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_unknown(part) for name, part in value.items()} | {"not_yet_invented": {"a": [1]}}
    return [_with_unknown(part) for part in value] if isinstance(value, list) else value


def test_a_consumer_ignores_unknown_fields_at_every_level(example: Example) -> None:
    value = _with_unknown(example.value)
    if example.type == "ma.chikaya.channel.submission.v1":
        value["submission"] = example.value["submission"]  # free by design: intake judges it
    event = decode(example.topic, json.dumps(value).encode(), example.kafka_headers, messages.ALL)
    assert event == decode(example.topic, example.kafka_value, example.kafka_headers, messages.ALL)


def test_an_unknown_type_is_no_error() -> None:
    assert decoded(headers={**HEADERS, "ce_type": "ma.chikaya.case.invented.v1"}) is None


@pytest.mark.parametrize("name", ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"])
def test_a_missing_header_is_named(name: str) -> None:
    with pytest.raises(Undecodable, match=f"no header {name}"):
        decoded(headers={header: text for header, text in HEADERS.items() if header != name})


@pytest.mark.parametrize("name", ["ce_subject", "content-type"])
def test_a_record_is_read_without_its_optional_headers(name: str) -> None:
    assert decoded(headers={header: text for header, text in HEADERS.items() if header != name}) == decoded()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ce_specversion": "salma@example.org"}, "ce_specversion"),
        ({"ce_time": "salma@example.org"}, "ce_time"),
        ({"ce_time": "2026-03-02T10:00:00"}, "ce_time has no zone"),
        ({"ce_id": ""}, "ce_id is empty"),
    ],
)
def test_a_wrong_header_is_named_without_its_value(changed: dict[str, str], said: str) -> None:
    with pytest.raises(Undecodable, match=said) as caught:
        decoded(headers=HEADERS | changed)
    assert "salma" not in str(caught.value)


def test_a_null_header_is_read_as_empty() -> None:
    headers: list[tuple[str, bytes | None]] = [(name, text.encode()) for name, text in HEADERS.items()]
    event = decode("complaints.requests.v1", json.dumps(VALUE).encode(), [*headers, ("x-tool", None)], messages.ALL)
    assert event == decoded()
    with pytest.raises(Undecodable, match="ce_id is empty"):
        decode("complaints.requests.v1", b"{}", [*headers, ("ce_id", None)], messages.ALL)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({**VALUE, "at": "salma@example.org"}, "at: "),
        ({**VALUE, "by": "salma@example.org"}, "by: literal_error"),
        ({name: part for name, part in VALUE.items() if name != "text"}, "text: missing"),
        ({**VALUE, "text": ""}, "text: string_too_short"),
        (b'{"text": "salma@example.org"', "value: json_invalid"),
        (b"\xff\xfe", "value: json_invalid"),
        (["salma@example.org"], "value: model_type"),
        (None, "value: json_invalid"),
    ],
)
def test_a_wrong_value_is_named_without_its_value(value: Any, said: str) -> None:
    with pytest.raises(Undecodable, match=said) as caught:
        decoded(value)
    assert "salma" not in str(caught.value)


def test_a_wrong_contact_is_named_without_its_value() -> None:
    value = {
        "complaint_id": "c-1", "reference": "20260000123439", "verifier": "00", "channel": "portal",
        "received_at": "2026-03-02T10:00:00Z", "nature": "complaint", "text": "…", "language": "fr",
        "contact": {"name": "Salma", "email": "salma at example.org", "phone": "salma"},
    }  # fmt: skip
    with pytest.raises(Undecodable) as caught:
        decoded(value, HEADERS | {"ce_type": ComplaintSubmitted.TYPE})
    assert str(caught.value) == "contact.email: value_error; contact.phone: phone"


@given(text=st.text(min_size=1, max_size=200), secret=st.text("0123456789abcdefghij", min_size=12))
def test_no_value_whatever_is_in_an_error(text: str, secret: str) -> None:
    with pytest.raises(Undecodable) as caught:
        decoded({"complaint_id": 7, "at": secret, "by": secret, "text": [text, secret], secret: secret})
    assert secret not in str(caught.value)


@given(
    text=st.text(min_size=1).filter(str.strip),
    at=st.datetimes(timezones=st.just(UTC)),
    event_id=st.text(min_size=1),
    extensions=st.dictionaries(st.sampled_from(["administration", "partitionkey"]), st.text()),
    traceparent=st.none() | st.text(min_size=1),
)
def test_any_event_survives_the_journey(
    text: str, at: datetime, event_id: str, extensions: dict[str, str], traceparent: str | None
) -> None:
    data = Supplement(complaint_id="c-1", at=at, by="citizen", text=text)
    event = Event(event_id, "/tracking", at, data, "complaints.requests.v1", extensions, traceparent)
    topic, _, value, headers = encode(event)
    assert decode(topic, value, headers, messages.ALL) == event


def test_an_extension_names_the_administration_on_shared_topics() -> None:
    data = Acknowledge(complaint_id="c-1", administration="habous")
    event = Event(
        "e-1",
        "/desk",
        datetime(2026, 3, 2, tzinfo=UTC),
        data,
        "administration.desk.outbox.v1",
        {"administration": "habous"},
    )
    assert ("ce_administration", b"habous") in encode(event)[3]
