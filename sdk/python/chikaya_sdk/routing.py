"""Routing's public reading: who is competent for what, where places are, how a text would be classified."""

from typing import Any, Unpack

from pydantic import BaseModel, ConfigDict

from .rest import Options, Service


class _Open(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class CatalogueEntry(_Open):
    """An administration of the catalogue; `competence` is in words for the citizen."""

    slug: str
    name_fr: str
    name_ar: str
    kind: str
    competence: str = ""


class Commune(_Open):
    """A commune, with its official code (HCP) for `Place.commune`, and its province."""

    code: str
    name_fr: str
    name_ar: str
    province_fr: str | None = None
    province_ar: str | None = None


class Routing(Service):
    """Routing's API: no key is needed."""

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        super().__init__(url, **options)

    async def administrations(self) -> list[CatalogueEntry]:
        """Every administration of the catalogue, for a citizen who wishes for one.

        Raises:
            Unavailable: routing is away.
        """
        found = await self._call("GET", "/v1/administrations")
        return [CatalogueEntry.model_validate(row) for row in found["administrations"]]

    async def places(self, q: str) -> list[Commune]:
        """Communes whose French or Arabic name fits what a person has typed so far.

        Raises:
            Unavailable: routing is away.
        """
        found = await self._call("GET", "/v1/places", params={"q": q})
        return [Commune.model_validate(row) for row in found["places"]]

    async def classify(self, text: str, place: str | None = None) -> dict[str, Any]:
        """How routing would decide on a text, as its API says it; nothing is filed.

        Args:
            place: the commune's official code (HCP), or words.

        Raises:
            Refused: the text is too short or too long.
            Unavailable: routing is away.
        """
        body = {"text": text} | ({"place": place} if place else {})
        answer: dict[str, Any] = await self._call("POST", "/v1/classify", json=body)
        return answer
