"""The page's few words in French, Arabic and English, as the browser asks; French when it asks for none of them."""

from typing import Literal

Language = Literal["fr", "ar", "en"]

WORDS: dict[Language, dict[str, str]] = {
    "fr": {
        "lang": "fr", "dir": "ltr", "title": "Boîte de réception locale",
        "about": "Tout e-mail et SMS que Chikaya envoie sur cette machine arrive ici, et nulle part ailleurs.",
        "recipient": "Destinataire", "kind": "Type", "all": "Tous", "email": "E-mail", "sms": "SMS",
        "filter": "Filtrer", "delete": "Tout supprimer", "empty": "Rien n'a encore été envoyé.",
        "no_match": "Aucun message pour ce filtre.", "older": "Plus anciens", "newest": "Les plus récents",
        "subject": "Objet", "from": "De", "date": "Date (UTC)", "repeat": "répétition", "raw": "Source",
        "back": "Retour à la liste", "gone": "Ce message n'existe pas ou a été supprimé.",
        "text": "Texte", "html": "Mise en page", "kept": "messages gardés",
    },
    "ar": {
        "lang": "ar", "dir": "rtl", "title": "علبة الرسائل المحلية",
        "about": "كل بريد إلكتروني ورسالة قصيرة يرسلها شكاية على هذا الجهاز تصل إلى هنا، ولا تصل إلى أي مكان آخر.",
        "recipient": "المرسل إليه", "kind": "النوع", "all": "الكل", "email": "بريد إلكتروني", "sms": "رسالة قصيرة",
        "filter": "تصفية", "delete": "حذف الكل", "empty": "لم ترسل أي رسالة بعد.",
        "no_match": "لا توجد رسائل لهذا البحث.", "older": "الأقدم", "newest": "الأحدث",
        "subject": "الموضوع", "from": "من", "date": "التاريخ (UTC)", "repeat": "مكررة", "raw": "المصدر",
        "back": "العودة إلى اللائحة", "gone": "هذه الرسالة غير موجودة أو حذفت.",
        "text": "النص", "html": "العرض", "kept": "رسالة محفوظة",
    },
    "en": {
        "lang": "en", "dir": "ltr", "title": "Local inbox",
        "about": "Every e-mail and SMS that Chikaya sends on this machine arrives here, and nowhere else.",
        "recipient": "Recipient", "kind": "Kind", "all": "All", "email": "E-mail", "sms": "SMS",
        "filter": "Filter", "delete": "Delete all", "empty": "Nothing has been sent yet.",
        "no_match": "No message for this filter.", "older": "Older", "newest": "Newest",
        "subject": "Subject", "from": "From", "date": "Date (UTC)", "repeat": "repeat", "raw": "Source",
        "back": "Back to the list", "gone": "This message does not exist or was deleted.",
        "text": "Text", "html": "Layout", "kept": "messages kept",
    },
}  # fmt: skip


def words_for(accept_language: str) -> dict[str, str]:
    """The first language of the header that the page has, in the header's own order."""
    for part in accept_language.split(","):
        tag = part.split(";")[0].strip().lower()[:2]
        if tag in WORDS:
            return WORDS[tag]
    return WORDS["fr"]
