"""What a channel may submit: telephones as people write them, and somebody to answer to."""

from typing import Any

import pytest
from chikaya_contracts.submission import CommuneCode, Contact, Phone, Slug, Submission
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

RIGHT: dict[str, Any] = {
    "text": "L'éclairage de la rue est en panne depuis un mois.",
    "contact": {"name": "Nadia El Hamdaoui", "phone": "0600000090"},
    "consent": True,
}


def codes(body: dict[str, Any]) -> dict[str, str]:
    """The kind of each error by its field."""
    with pytest.raises(ValidationError) as caught:
        Submission.model_validate(body)
    return {".".join(map(str, error["loc"])): error["type"] for error in caught.value.errors()}


def test_a_submission_needs_no_more_than_text_contact_and_consent() -> None:
    submission = Submission.model_validate(RIGHT)
    assert (submission.nature, submission.language, submission.attachments) == ("complaint", "fr", ())


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("0612345678", "+212612345678"),
        ("06 12 34 56 78", "+212612345678"),
        ("06.12.34.56.78", "+212612345678"),
        ("06-12-34-56-78", "+212612345678"),
        (" 0712345678 ", "+212712345678"),
        ("0522123456", "+212522123456"),
        ("+212612345678", "+212612345678"),
        ("+212 (0) 6 12 34 56 78", "+212612345678"),
        ("00212612345678", "+212612345678"),
        ("٠٦١٢٣٤٥٦٧٨", "+212612345678"),
        ("+33 6 12 34 56 78", "+33612345678"),
        ("0033612345678", "+33612345678"),
        ("+34 612 34 56 78", "+34612345678"),
    ],
)
def test_a_telephone_number_is_brought_to_one_form(written: str, number: str) -> None:
    contact = Contact(name="Nadia", phone=written)
    assert contact.phone == number
    assert Contact(name="Nadia", phone=contact.phone) == contact


@pytest.mark.parametrize("written", ["", "néant", "12", "06123", "+212", "0612345678901234", "+999612345678"])
def test_what_is_no_telephone_number_is_refused(written: str) -> None:
    assert codes({**RIGHT, "contact": {"name": "Nadia", "phone": written}}) == {"contact.phone": "phone"}


@given(st.integers(0, 99_999_999), st.sampled_from("67"), st.sampled_from(["0", "+212", "00212", "+212 0"]))
def test_every_way_to_write_a_mobile_number_gives_the_same(digits: int, kind: str, prefix: str) -> None:
    assert TypeAdapter(Phone).validate_python(f"{prefix}{kind}{digits:08d}") == f"+212{kind}{digits:08d}"


@pytest.mark.parametrize(
    ("contact", "wrong"),
    [
        ({"name": "Nadia"}, {"contact": "contact_missing"}),
        ({"phone": "0600000090"}, {"contact.name": "missing"}),
        ({"name": " N ", "phone": "0600000090"}, {"contact.name": "string_too_short"}),
        ({"name": "N" * 121, "phone": "0600000090"}, {"contact.name": "string_too_long"}),
        ({"name": "Nadia", "email": "nadia"}, {"contact.email": "value_error"}),
        ({"name": "Nadia", "phone": "0600000090", "cin": "AB1234"}, {"contact.cin": "extra_forbidden"}),
    ],
)
def test_somebody_must_be_named_and_reachable(contact: dict[str, str], wrong: dict[str, str]) -> None:
    assert codes({**RIGHT, "contact": contact}) == wrong


@pytest.mark.parametrize("contact", [{"email": "nadia@example.org"}, {"phone": "0600000090"}])
def test_an_email_address_or_a_telephone_number_is_enough(contact: dict[str, str]) -> None:
    assert Submission.model_validate({**RIGHT, "contact": {"name": "نادية", **contact}})


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"consent": False}, {"consent": "consent"}),
        ({"text": "  eau "}, {"text": "string_too_short"}),
        ({"text": "x" * 10_001}, {"text": "string_too_long"}),
        ({"nature": "plainte"}, {"nature": "literal_error"}),
        ({"language": "zgh"}, {"language": "literal_error"}),
        ({"administration_wished": "Ministère"}, {"administration_wished": "string_pattern_mismatch"}),
        ({"place": {"commune": "Casablanca"}}, {"place.commune": "string_pattern_mismatch"}),
        ({"attachments": ["a"] * 6}, {"attachments": "too_long"}),
        ({"channel": "portal"}, {"channel": "extra_forbidden"}),
        ({"place": {"ville": "Fès"}}, {"place.ville": "extra_forbidden"}),
    ],
)
def test_each_mistake_names_its_field(change: dict[str, Any], wrong: dict[str, str]) -> None:
    assert codes({**RIGHT, **change}) == wrong


@pytest.mark.parametrize("code", ["06.141.01.0", "02.411.01.23", "09.001.01.01"])
def test_a_commune_is_named_by_its_official_code(code: str) -> None:
    assert TypeAdapter(CommuneCode).validate_python(code) == code
    assert TypeAdapter(Slug).validate_python("commune-" + code.replace(".", "-"))


@pytest.mark.parametrize("code", ["06", "06.141", "....", "06.141.01.0.", "٠٦.١٤١.٠١.٠", ""])
def test_what_is_no_commune_code_is_refused(code: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(CommuneCode).validate_python(code)
