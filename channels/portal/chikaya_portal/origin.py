"""Forms are taken from this site's own pages: another site must not make a citizen's browser send one."""

from urllib.parse import urlsplit

from chikaya_servicekit.http import Problem
from fastapi import Request


def from_elsewhere(request: Request, public_url: str) -> bool | None:
    """Whether another site's page sent this; None when the browser does not say (no browser of today).

    This site is what the setting names, or the host that the browser itself asked for.
    """
    sent_by = request.headers.get("origin") or request.headers.get("referer")
    if not sent_by:
        return None
    try:
        parts = urlsplit(sent_by)
    except ValueError:
        return True
    ours = {urlsplit(public_url).netloc, request.headers.get("host", "")}
    return parts.scheme not in ("http", "https") or parts.netloc not in ours


def refuse_other_sites(request: Request, public_url: str, *, unknown: bool) -> None:
    """Args:
        unknown: whether a request is taken that does not say where it comes from.

    Raises:
        Problem: 403, the form is another site's.
    """
    elsewhere = from_elsewhere(request, public_url)
    if elsewhere or (elsewhere is None and not unknown):
        raise Problem(403, "Requête d'un autre site · طلب من موقع آخر")
