"""What a citizen may ask of a case, and how a refusal reads."""

from datetime import datetime
from typing import Literal

from chikaya_contracts import topics
from chikaya_contracts.envelope import Event
from chikaya_contracts.messages.requests import AnswerQuestion, CaseRequest, Rate, Reopen, Supplement, Withdraw

from .case import Case, NotAllowed, Reason, Rules, decide

Kind = Literal["answer-question", "supplement", "withdraw", "rate", "reopen"]
KINDS: dict[Kind, type[CaseRequest]] = {
    "answer-question": AnswerQuestion,
    "supplement": Supplement,
    "withdraw": Withdraw,
    "rate": Rate,
    "reopen": Reopen,
}
REFUSALS: dict[Reason, tuple[str, str]] = {
    "state": (
        "L'état actuel du dossier ne permet pas cette demande.",
        "الحالة الراهنة للملف لا تسمح بهذا الطلب.",
    ),
    "not-holder": (
        "Le dossier n'est pas auprès de cette administration.",
        "الملف ليس لدى هذه الإدارة.",
    ),
    "already-reopened": (
        "La réclamation a déjà été rouverte une fois ; vous pouvez vous adresser au Médiateur.",
        "سبق أن أعيد فتح الشكاية مرة واحدة، ويمكنكم اللجوء إلى الوسيط.",
    ),
    "too-late": (
        "Le délai de 30 jours après la réponse est passé ; vous pouvez vous adresser au Médiateur.",
        "انقضى أجل 30 يوما بعد الجواب، ويمكنكم اللجوء إلى الوسيط.",
    ),
    "already-rated": (
        "Vous avez déjà évalué cette réponse.",
        "سبق أن قيّمتم هذا الجواب.",
    ),
    "withdrawn-meanwhile": (
        "La réclamation a été retirée entre-temps.",
        "تم سحب الشكاية في غضون ذلك.",
    ),
}
"""Why something was refused, in French and Arabic."""


def check(case: Case, request: CaseRequest, rules: Rules) -> None:
    """Whether `request` would be allowed now. It is decided again when it is consumed.

    Raises:
        NotAllowed: it would be refused.
    """
    decide(case, Event("", "", request.at, request, topics.REQUESTS.name), rules)


def allowed(case: Case, at: datetime, rules: Rules) -> list[Kind]:
    """What the citizen may ask now."""
    found: list[Kind] = []
    for kind, model in KINDS.items():
        request = model.model_validate({"complaint_id": "", "at": at, "by": "citizen", "text": "-", "score": 1})
        try:
            check(case, request, rules)
        except NotAllowed:
            continue
        found.append(kind)
    return found
