"""Every notice in every form and language: it renders, says what it must, and says nothing that it must not."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import product
from typing import Any, get_args

import pytest
from chikaya_contracts import reference
from chikaya_contracts.messages.routing import RejectionReason
from chikaya_contracts.states import states
from chikaya_contracts.submission import Nature, NoticeLanguage
from chikaya_notification.domain.matrix import matrix
from chikaya_notification.domain.notices import Facts, Notice, Question
from chikaya_notification.domain.segments import TWO_SEGMENTS_7_BIT, TWO_SEGMENTS_UCS2, fits, in_gsm_alphabet
from chikaya_notification.domain.wording import LONGEST_PORTAL_URL, Name, Wording, texts

AT = datetime(2026, 3, 2, 9, 12, tzinfo=UTC)
REFERENCE = reference.make(2026, 99_999_999)
LONGEST = Name(
    "Ministère de l'Aménagement du territoire national, de l'Urbanisme, de l'Habitat et de la Politique de la ville",
    "وزارة الشؤون الخارجية والتعاون الإفريقي والمغاربة المقيمين بالخارج",
)
NAMES = [LONGEST, Name("Caisse nationale de sécurité sociale", "الصندوق الوطني للضمان الاجتماعي"), None]
PORTAL = "https://" + "p" * (LONGEST_PORTAL_URL - 8)
LANGUAGES: tuple[NoticeLanguage, ...] = get_args(NoticeLanguage)
STATE_AFTER = {"receipt": "received", "relayed": "routed", "question": "waiting_for_citizen", "answer": "answered"}


def variants(notice: str) -> list[dict[str, Any]]:
    """What a notice's words depend on."""
    if notice == "rejected":
        return [{"rejection": reason} for reason in get_args(RejectionReason)]
    if notice == "question":
        return [{"question": question} for question in get_args(Question)]
    return [{"again": True}, {"again": False}] if notice == "relayed" else [{}]


def notice(name: str, nature: Nature, answer_due: datetime | None, variant: dict[str, Any]) -> Notice:
    """A notice of the table."""
    facts = Facts(
        at=AT,
        state=STATE_AFTER.get(name, name),
        nature=nature,
        administration="x",
        relay_due=answer_due and answer_due - timedelta(days=45),
        answer_due=answer_due,
        **variant,
    )
    return Notice("n", "c", REFERENCE, "e", name, "email", facts, state="pending", due=AT)


ANY = notice("receipt", "complaint", None, {})
CASES = [
    pytest.param(
        notice(row.notice, nature, due, variant),
        language,
        id="-".join([row.notice, *map(str, variant.values()), nature, language, "due" if due else "no-due"]),
    )
    for row, nature, language, due in product(
        matrix().notices, get_args(Nature), LANGUAGES, (datetime(2026, 9, 30, 22, 59, tzinfo=UTC), None)
    )
    for variant in variants(row.notice)
]


@pytest.mark.parametrize("name", NAMES, ids=["longest", "usual", "none"])
@pytest.mark.parametrize(("written", "language"), CASES)
def test_an_sms_fits_two_segments_and_leads_to_the_follow_page(
    written: Notice, language: NoticeLanguage, name: Name | None
) -> None:
    text = Wording(PORTAL).sms(written, language, name)
    assert fits(text), len(text)
    assert len(text) <= (TWO_SEGMENTS_7_BIT if language == "fr" else TWO_SEGMENTS_UCS2)
    assert f"{PORTAL}/follow?reference={REFERENCE}" in text
    assert text == text.strip()
    assert not re.search(r"None|[{}]|  |\n", text)
    if language == "ar":
        assert re.match(r"[\u0600-\u06ff]", text), "its first letter sets the direction"


@pytest.mark.parametrize("name", NAMES, ids=["longest", "usual", "none"])
@pytest.mark.parametrize(("written", "language"), CASES)
def test_a_mail_says_the_same_in_text_and_html(written: Notice, language: NoticeLanguage, name: Name | None) -> None:
    mail = Wording(PORTAL).mail(written, language, name)
    page = _Page(mail.html)
    link = f"{PORTAL}/follow?reference={REFERENCE}"
    state = states()[written.facts.state]
    for words in (mail.text, page.text):
        assert reference.spoken(REFERENCE) in words.replace("\u00a0", " ")
        assert (state.ar if language == "ar" else state.fr) in words
        assert not re.search(r"None|[{}]", words)
        if name:
            assert (name.ar if language == "ar" else name.fr) in words
    assert link in mail.text
    assert page.links == [link]
    assert (page.language, page.direction) == (language, "rtl" if language == "ar" else "ltr")
    assert REFERENCE in mail.subject
    assert "\n" not in mail.subject
    assert mail.subject == mail.subject.strip()
    for paragraph in mail.text.split("\n\n"):
        if re.search(r"[^\W\d_]", paragraph) and not paragraph.startswith("http"):
            assert " ".join(paragraph.split()) in " ".join(page.text.split()) or link in paragraph or "\n" in paragraph


@pytest.mark.parametrize("reason", get_args(RejectionReason))
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_rejection_says_why_and_where_to_go(reason: RejectionReason, language: NoticeLanguage) -> None:
    changed = replace(ANY, notice="rejected", facts=Facts(AT, "rejected", rejection=reason))
    mail = Wording(PORTAL).mail(changed, language, None)
    words = texts()["rejections"][reason]
    assert words["why"][language] in mail.text
    assert words["where"][language] in mail.text
    short = words["sms"][language]
    assert (in_gsm_alphabet(short) if language == "fr" else short) in Wording(PORTAL).sms(changed, language, None)


def test_every_text_has_its_translation() -> None:
    def leaves(node: Any, path: str = "") -> list[tuple[str, set[str]]]:
        if all(isinstance(value, str) for value in node.values()):
            return [(path, set(node))]
        return [found for key, value in node.items() for found in leaves(value, f"{path}.{key}")]

    untranslated = [path for path, languages in leaves(texts()) if languages != set(LANGUAGES)]
    assert not untranslated
    for path, by_language in _strings(texts()):
        assert by_language["fr"].strip() != by_language["ar"].strip(), path
        assert re.search(r"[\u0600-\u06ff]", by_language["ar"]), path
        assert not re.search(r"[\u0600-\u06ff]", by_language["fr"]), path


def _strings(node: Any, path: str = "") -> list[tuple[str, dict[str, str]]]:
    if all(isinstance(value, str) for value in node.values()):
        return [(path, node)]
    return [found for key, value in node.items() for found in _strings(value, f"{path}.{key}")]


def test_days_are_written_as_people_say_them() -> None:
    received = Facts(datetime(2026, 7, 31, 23, 30, tzinfo=UTC), "received")
    changed = replace(ANY, notice="receipt", facts=received)
    assert "le 1er août 2026" in Wording(PORTAL).mail(changed, "fr", None).text
    assert "1 غشت 2026" in Wording(PORTAL).mail(changed, "ar", None).text


def test_html_escapes_what_comes_from_the_catalogue() -> None:
    mail = Wording(PORTAL).mail(ANY, "fr", Name("<b>Eaux & Forêts</b>", "ا"))
    assert "&lt;b&gt;Eaux &amp; Forêts" in mail.html
    assert "<b>Eaux & Forêts</b>" in mail.text


def test_groups_of_a_reference_keep_their_order_inside_arabic() -> None:
    mail = Wording(PORTAL).mail(ANY, "ar", None)
    isolated = "\u2066" + reference.spoken(REFERENCE).replace(" ", "\u00a0") + "\u2069"
    assert isolated in mail.text
    assert isolated in mail.html


def test_french_keeps_to_the_seven_bit_alphabet() -> None:
    written, sent = "Forêt, reçue, août, l’État, « œuvre »…", 'Foret, recue, aout, l\'État, " oeuvre "...'
    assert in_gsm_alphabet(written) == sent
    assert in_gsm_alphabet("École à Fès, déjà réglé") == "École à Fès, déjà réglé"
    assert fits("a" * TWO_SEGMENTS_7_BIT)
    assert not fits("a" * (TWO_SEGMENTS_7_BIT - 1) + "€")
    assert fits("ش" * TWO_SEGMENTS_UCS2)
    assert not fits("ش" * (TWO_SEGMENTS_UCS2 + 1))


class _Page(HTMLParser):
    """What a reader of the HTML sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.language = self.direction = self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "html":
            self.language, self.direction = given["lang"] or "", given["dir"] or ""
        if tag == "a":
            self.links.append(given["href"] or "")
        assert tag not in {"script", "img", "link", "iframe"}, "a mail fetches nothing"

    def handle_data(self, data: str) -> None:
        self.text += data
