"""What is wrong with a field, said to people in French and Arabic."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from chikaya_contracts.messages.channel import FieldError

LABELS: dict[str, tuple[str, str]] = {
    "nature": ("La nature", "طبيعة الطلب"),
    "text": ("Le texte", "النص"),
    "place": ("Le lieu", "المكان"),
    "place.commune": ("La commune", "الجماعة"),
    "place.text": ("Le lieu", "المكان"),
    "administration_wished": ("L'administration souhaitée", "الإدارة المرغوب فيها"),
    "contact": ("Vos coordonnées", "معلومات الاتصال"),
    "contact.name": ("Le nom", "الاسم"),
    "contact.email": ("L'adresse électronique", "البريد الإلكتروني"),
    "contact.phone": ("Le téléphone", "الهاتف"),
    "language": ("La langue", "اللغة"),
    "consent": ("Le consentement", "الموافقة"),
    "attachments": ("Les pièces jointes", "المرفقات"),
    "Idempotency-Key": ("La clé Idempotency-Key", "مفتاح Idempotency-Key"),
    "sender_id": ("L'identifiant sender_id", "المعرف sender_id"),
    "file": ("Le fichier", "الملف"),
    "kind": ("La demande", "الطلب"),
    "score": ("La note", "التقييم"),
    "reference": ("Le numéro de référence", "رقم المرجع"),
    "telephone": ("Le téléphone", "الهاتف"),
}

_MESSAGES: dict[str, tuple[str, str]] = {
    "missing": ("{fr} : cette information est obligatoire.", "{ar}: هذه الخانة إلزامية."),
    "string_too_short": ("{fr} : au moins {min_length} caractères.", "{ar}: {min_length} أحرف على الأقل."),
    "string_too_long": ("{fr} : au plus {max_length} caractères.", "{ar}: {max_length} حرفا على الأكثر."),
    "too_long": ("{fr} : au plus {max_length}.", "{ar}: {max_length} على الأكثر."),
    "string_pattern_mismatch": ("{fr} : ce n'est pas la forme attendue.", "{ar}: الصيغة غير صحيحة."),
    "literal_error": ("{fr} : choisissez une valeur parmi {expected}.", "{ar}: اختاروا إحدى القيم {expected}."),
    "enum": ("{fr} : choisissez une valeur parmi {expected}.", "{ar}: اختاروا إحدى القيم {expected}."),
    "extra_forbidden": ("Le champ « {path} » est inconnu.", "الخانة «{path}» غير معروفة."),
    "json_invalid": ("Le corps n'est pas du JSON valide.", "محتوى الطلب ليس JSON صالحا."),
    "string_type": ("{fr} : un texte est attendu.", "{ar}: يجب إدخال نص."),
    "bool_type": ("{fr} : répondez par oui (true) ou non (false).", "{ar}: الجواب بنعم (true) أو لا (false)."),
    "bool_parsing": ("{fr} : répondez par oui (true) ou non (false).", "{ar}: الجواب بنعم (true) أو لا (false)."),
    "key_length": (
        "{fr} : de 1 à {most} caractères visibles, sans espace.",
        "{ar}: من 1 إلى {most} حرفا مرئيا، بدون فراغات.",
    ),
    "key_reused": (
        "{fr} a déjà servi à une autre réclamation : il en faut une autre valeur.",
        "{ar}: سبق استعماله لشكاية أخرى، المرجو استعمال قيمة جديدة.",
    ),
    "attachment_unknown": (
        "Une pièce jointe est inconnue, expirée, ou déjà jointe à une autre réclamation.",
        "أحد المرفقات غير معروف أو انتهت صلاحيته أو سبق إرفاقه بشكاية أخرى.",
    ),
    "value_error": ("{fr} : valeur non valide.", "{ar}: قيمة غير صالحة."),
    "phone": (
        "{fr} n'est pas un numéro valide, par exemple 06 12 34 56 78.",
        "{ar}: رقم غير صالح، مثال 06 12 34 56 78.",
    ),
    "contact_missing": (
        "Indiquez une adresse électronique ou un numéro de téléphone.",
        "المرجو إدخال بريد إلكتروني أو رقم هاتف.",
    ),
    "consent": (
        "Votre consentement au traitement de vos données est nécessaire.",
        "موافقتكم على معالجة معطياتكم ضرورية.",
    ),
    "greater_than_equal": ("{fr} : au moins {ge}.", "{ar}: {ge} على الأقل."),
    "less_than_equal": ("{fr} : au plus {le}.", "{ar}: {le} على الأكثر."),
}
_ANYTHING = ("{fr} : valeur non valide.", "{ar}: قيمة غير صالحة.")

MOST, LONGEST_PATH = 100, 120  # of what is said of one request


def field_error(code: str, path: str, **details: Any) -> FieldError:
    """One problem with one field; `path` as `contact.email`, `code` from the table above."""
    label_fr, label_ar = LABELS.get(path, (f"Le champ « {path} »", f"الخانة «{path}»"))
    fr, ar = _MESSAGES.get(code, _ANYTHING)
    words = {"fr": label_fr, "ar": label_ar, "path": path, **details}
    return FieldError(field=path, code=code, message_fr=fr.format(**words), message_ar=ar.format(**words))


def field_errors(errors: Iterable[Any], skip: Sequence[str] = ("body", "query", "path", "header")) -> list[FieldError]:
    """Pydantic's errors (`ValidationError.errors()`, or FastAPI's) for people. Values are never repeated.

    Args:
        skip: leading places that name the part of the request and no field.
    """
    found = []
    for error in islice(errors, MOST):
        place = [str(part) for part in error["loc"] if not isinstance(part, int)]
        while place and place[0] in skip:
            place.pop(0)
        # The place may be the sender's own words, of any length: the name of an unknown field.
        path = ".".join(place)[:LONGEST_PATH] or "body"
        found.append(field_error(error["type"], path, **_plain(error.get("ctx", {}))))
    return found


def _plain(context: dict[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in context.items() if isinstance(value, int | str)}
    if "expected" in plain:  # Pydantic lists the values in English
        plain["expected"] = str(plain["expected"]).replace(" or ", ", ")
    return plain
