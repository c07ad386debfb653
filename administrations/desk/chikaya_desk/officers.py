"""Who may work at the desk: officers and supervisors, for the administration that their sign-in names, and no other."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from chikaya_servicekit.http import Problem
from chikaya_servicekit.staff import Person
from fastapi import Depends

ROLES = ("officer", "supervisor")


@dataclass(frozen=True)
class Officer:
    """Somebody who is signed in, and the administration that they work for."""

    person: Person
    administration: str


def officer_of(allowed: Callable[..., Awaitable[Person]]) -> Callable[..., Awaitable[Officer]]:
    """A dependency that gives the `Officer` whom `allowed` lets in.

    Raises (when called):
        Problem: 403, the sign-in names no administration.
    """

    async def officer(person: Annotated[Person, Depends(allowed)]) -> Officer:
        if person.administration is None:
            raise Problem(
                403,
                "Accès refusé · الولوج مرفوض",
                "Votre compte n'est rattaché à aucune administration. حسابكم غير مرتبط بأي إدارة.",
            )
        return Officer(person, person.administration)

    return officer


def unknown() -> Problem:
    """404: there is no such dossier, or it is another administration's."""
    return Problem(404, "Dossier introuvable · الملف غير موجود")
