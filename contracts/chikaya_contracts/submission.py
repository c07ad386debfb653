"""What a channel submits: the same body over HTTP and over Kafka."""

from typing import Annotated, Any, Literal

import phonenumbers
from pydantic import AfterValidator, BaseModel, ConfigDict, EmailStr, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

Nature = Literal["complaint", "observation", "suggestion"]
"""The three natures of decree 2-17-265: réclamation, observation, suggestion."""
Language = Literal["fr", "ar", "ary_Arab", "ary_Latn", "mixed", "en", "zgh", "other"]
"""What a text is written in."""
NoticeLanguage = Literal["fr", "ar"]
"""What the citizen is written to in."""

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
CommuneCode = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}\.[0-9]{3}\.[0-9]{2}\.[0-9]{1,2}$")]
"""A commune or an arrondissement as the Haut-Commissariat au Plan numbers it: `02.411.01.23`, `06.141.01.0`."""


def _e164(written: str) -> str:
    try:
        number = phonenumbers.parse(written, "MA")
    except phonenumbers.NumberParseException:
        raise PydanticCustomError("phone", "not a telephone number") from None
    if not phonenumbers.is_possible_number(number):
        raise PydanticCustomError("phone", "not a telephone number")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


Phone = Annotated[str, StringConstraints(strip_whitespace=True, max_length=30), AfterValidator(_e164)]
"""A telephone number, Moroccan unless it says otherwise; brought to E.164."""


def _given(consent: bool) -> bool:
    if not consent:
        raise PydanticCustomError("consent", "consent is required")
    return consent


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Contact(_Part):
    """Who complains, and how they are told. A name, and an e-mail address or a telephone number, are required:
    the decree holds anonymous complaints inadmissible."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["email"]}, {"required": ["phone"]}]})

    name: Annotated[str, Field(min_length=2, max_length=120)]
    email: EmailStr | None = None
    phone: Phone | None = None

    @model_validator(mode="after")
    def _reachable(self) -> "Contact":
        if not (self.email or self.phone):
            raise PydanticCustomError("contact_missing", "an e-mail address or a telephone number is needed")
        return self


class Place(_Part):
    """Where the matter is: an official commune code (HCP), or words."""

    commune: CommuneCode | None = None
    text: Annotated[str, Field(max_length=200)] | None = None


class Submission(_Part):
    """A complaint as it is submitted."""

    nature: Nature = "complaint"
    text: Annotated[str, Field(min_length=5, max_length=10_000)]
    place: Place | None = None
    administration_wished: Slug | None = None
    contact: Contact
    language: NoticeLanguage = "fr"
    consent: Annotated[bool, Field(json_schema_extra={"const": True}), AfterValidator(_given)]
    attachments: Annotated[tuple[str, ...], Field(max_length=5)] = ()


class Receipt(BaseModel):
    """What is given back for an accepted submission. `deadlines` are the last instants of relay and answer."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    complaint_id: str
    reference: str
    access_code: str
    received_at: Any
    deadlines: dict[str, Any]
