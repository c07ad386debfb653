"""Filing: what a citizen sees and keeps, whatever goes wrong on the way."""

import re
from typing import Any

import httpx
import pytest
from chikaya_sdk import Intake, NotAllowed

PDF = b"%PDF-1.7 a small one"


async def start(browser: httpx.AsyncClient, fields: Any) -> str:
    page = await browser.get("/file")
    assert page.status_code == 200
    return str(fields(page.text)["key"])


async def test_a_complaint_is_filed_and_its_receipt_shown(
    browser: httpx.AsyncClient, services: Any, filled: Any, fields: Any
) -> None:
    key = await start(browser, fields)
    checked = await browser.post("/file/check", data=filled | {"key": key})
    assert checked.status_code == 200
    assert "Le lampadaire de la rue" in checked.text
    assert "Salma Idrissi" in checked.text
    sent = await browser.post("/file", data=fields(checked.text))
    assert (sent.status_code, sent.headers["location"]) == (303, "/receipt")
    receipt = await browser.get("/receipt")
    name, code = next(iter(services.codes.items()))
    assert f"{name[:4]} {name[4:8]} {name[8:12]} {name[12:]}" in receipt.text
    assert code in receipt.text
    assert "17 mars 2026" in receipt.text
    assert "1 mai 2026" not in receipt.text  # a Friday, and Labour Day: the deadline moves
    assert "4 mai 2026" in receipt.text
    (submission,) = services.filed
    assert submission.contact.phone == "+212612345678"
    assert (submission.place.commune, submission.place.text) == ("04.421.01.0", "Rabat")
    assert submission.consent is True


async def test_sent_twice_it_is_one_complaint_with_one_receipt(
    browser: httpx.AsyncClient, services: Any, filled: Any, fields: Any
) -> None:
    form = filled | {"key": await start(browser, fields)}
    for _ in range(2):
        assert (await browser.post("/file", data=form)).status_code == 303
    assert len(services.filed) == 1
    assert next(iter(services.codes.values())) in (await browser.get("/receipt")).text


async def test_a_form_sent_again_with_another_text_asks_whether_a_second_is_meant(
    browser: httpx.AsyncClient, services: Any, filled: Any, fields: Any
) -> None:
    form = filled | {"key": await start(browser, fields)}
    await browser.post("/file", data=form)
    again = await browser.post("/file", data=form | {"text": "Un autre lampadaire est éteint."})
    assert again.status_code == 409
    assert "déjà été envoyée" in again.text
    carried = fields(again.text)
    assert carried["key"] != form["key"]
    assert (await browser.post("/file", data=carried)).status_code == 303
    assert len(services.filed) == 2


@pytest.mark.parametrize(
    ("language", "words"), [("fr", "Racontez ce qui s&#39;est passé."), ("ar", "المرجو أن تحكوا لنا ما حدث.")]
)
async def test_every_mistake_is_told_beside_its_field_and_above_with_a_link(
    site: Any, fields: Any, language: str, words: str
) -> None:
    async with site.browser(language) as browser:
        wrong = await browser.post("/file/check", data={"nature": "complaint", "phone": "12", "name": "Ali & Co"})
    assert wrong.status_code == 422
    assert f'lang="{language}"' in wrong.text
    links = re.findall(r'<a href="#([a-z]+)">', wrong.text)
    assert links == ["text", "phone", "consent"]
    for name in links:
        assert f'id="{name}"' in wrong.text
    assert wrong.text.count(words) == 2
    assert 'value="Ali &amp; Co"' in wrong.text
    assert "aria-invalid" in wrong.text


async def test_what_people_write_is_never_markup(browser: httpx.AsyncClient, filled: Any) -> None:
    form = filled | {"text": "<script>alert(1)</script> ici", "name": '"><img src=x>', "commune": "<b>Rabat"}
    for checked in (await browser.post("/file/check", data=form), await browser.post("/file/edit", data=form)):
        assert "<script>" not in checked.text
        assert "<img src=x>" not in checked.text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in checked.text


async def test_several_communes_are_offered_with_their_province(
    browser: httpx.AsyncClient, services: Any, filled: Any, fields: Any
) -> None:
    asked = await browser.post("/file/check", data=filled | {"commune": "oulad said"})
    assert asked.status_code == 422
    assert "Oulad Saïd" in asked.text
    assert "(Settat)" in asked.text
    form = filled | fields(asked.text) | {"commune": "oulad said"}
    again = await browser.post("/file/check", data=form)
    assert again.status_code == 422  # nothing chosen yet
    chosen = await browser.post("/file/check", data=form | {"commune_code": "06.461.05.9"})
    assert chosen.status_code == 200
    assert "(Settat)" in chosen.text
    await browser.post("/file", data=fields(chosen.text))
    assert services.filed[0].place.commune == "06.461.05.9"


async def test_ones_own_words_are_kept_for_a_place_that_no_list_has(
    browser: httpx.AsyncClient, services: Any, filled: Any, fields: Any
) -> None:
    checked = await browser.post("/file/check", data=filled | {"commune": "Derb Ghallef au fond"})
    assert checked.status_code == 200
    assert "pas dans notre liste" in checked.text
    await browser.post("/file", data=fields(checked.text))
    assert (services.filed[0].place.commune, services.filed[0].place.text) == (None, "Derb Ghallef au fond")


async def test_routing_away_holds_nobody_up(
    browser: httpx.AsyncClient, services: Any, filled: Any, fields: Any, no_waiting: Any
) -> None:
    services.away = {"routing"}
    assert (await browser.get("/file")).status_code == 200
    checked = await browser.post("/file/check", data=filled)
    assert checked.status_code == 200
    await browser.post("/file", data=fields(checked.text))
    assert services.filed[0].place.text == "Rabat"


async def test_intake_away_loses_nothing(
    browser: httpx.AsyncClient, services: Any, filled: Any, fields: Any, no_waiting: Any
) -> None:
    form = filled | {"key": await start(browser, fields)}
    services.away = {"intake"}
    away = await browser.post("/file", data=form)
    assert away.status_code == 503
    assert "Retry-After" in away.headers
    assert "Rien n&#39;est perdu" in away.text
    assert sum(no_waiting) < 5
    carried = fields(away.text)
    assert {name: carried[name] for name in form} == form
    services.away = set()
    assert (await browser.post("/file", data=carried)).status_code == 303
    assert len(services.filed) == 1


async def test_a_wrong_key_of_ours_is_no_citizens_fault(
    browser: httpx.AsyncClient, filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses_our_key(*_: Any, **__: Any) -> None:
        raise NotAllowed("401")

    monkeypatch.setattr(Intake, "submit", refuses_our_key)
    away = await browser.post("/file", data=filled)
    assert away.status_code == 503
    assert filled["text"] in away.text


async def test_files_go_along_and_are_not_asked_for_twice(
    browser: httpx.AsyncClient, services: Any, filled: Any, fields: Any
) -> None:
    files = [("files", ("photo <1>.pdf", PDF, "application/pdf")), ("files", ("x.exe", b"MZ", "application/x-exe"))]
    wrong = await browser.post("/file/check", data=filled | {"text": ""}, files=files)
    assert wrong.status_code == 422
    assert "photo &lt;1&gt;.pdf" in wrong.text
    assert "« x.exe » n&#39;est pas d&#39;un type accepté" in wrong.text
    assert len(services.files) == 1
    form = filled | fields(wrong.text)
    checked = await browser.post("/file/check", data=form)
    assert checked.status_code == 200
    assert "photo &lt;1&gt;.pdf" in checked.text
    await browser.post("/file", data=fields(checked.text))
    assert services.filed[0].attachments == ("file-1",)


async def test_a_file_can_be_taken_away_and_a_note_of_ones_own_making_counts_for_nothing(
    browser: httpx.AsyncClient, services: Any, filled: Any, fields: Any
) -> None:
    files = [("files", ("a.pdf", PDF, "application/pdf"))]
    form = fields((await browser.post("/file/check", data=filled, files=files)).text)
    note = form["attachment"]
    for changed in ({"remove": note}, {"attachment": note[:-4] + "abcd"}, {"attachment": "file-1"}):
        checked = await browser.post("/file/check", data=form | changed)
        assert checked.status_code == 200
        assert "a.pdf" not in checked.text


async def test_too_large_too_many_empty_or_too_old_files_are_named(
    site: Any, browser: httpx.AsyncClient, filled: Any, fields: Any, days: Any
) -> None:
    large = [("files", ("film.mp4", b"0" * (20 * 1024 * 1024 + 1), "video/mp4"))]
    wrong = await browser.post("/file/check", data=filled, files=large)
    assert "« film.mp4 » dépasse 20 Mo" in wrong.text
    many = [("files", (f"{n}.pdf", PDF, "application/pdf")) for n in range(6)] + [("files", ("e.pdf", b"", ""))]
    wrong = await browser.post("/file/check", data=filled, files=many)
    assert "« 5.pdf » est de trop" in wrong.text
    one = await browser.post("/file/check", data=filled, files=[("files", ("vieux.pdf", PDF, "application/pdf"))])
    site.now = days(2)
    late = await browser.post("/file", data=fields(one.text))
    assert late.status_code == 422
    assert "« vieux.pdf » a été ajouté il y a trop longtemps" in late.text


async def test_a_form_changes_language_with_all_that_is_in_it(browser: httpx.AsyncClient, filled: Any) -> None:
    arabic = await browser.post("/file/edit?lang=ar", data=filled)
    assert 'lang="ar" dir="rtl"' in arabic.text
    assert filled["text"] in arabic.text
    assert 'lang="ar"' in (await browser.get("/file")).text


async def test_a_receipt_is_shown_for_half_an_hour(
    site: Any, browser: httpx.AsyncClient, filled: Any, days: Any
) -> None:
    assert (await browser.get("/receipt")).status_code == 410
    sent = await browser.post("/file", data=filled)
    cookie = sent.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Max-Age=1800" in cookie
    assert (await browser.get("/receipt")).headers["cache-control"] == "no-store"
    site.now = days(1)
    assert (await browser.get("/receipt")).status_code == 410


async def test_one_address_files_so_often_an_hour_and_loses_nothing(make_site: Any, filled: Any, fields: Any) -> None:
    site = make_site(filings_per_hour=2, trusted_proxies="10.0.0.0/8")
    async with site.browser(address="10.0.0.1") as browser:

        async def sent(client: str) -> httpx.Response:
            return await browser.post("/file", data=filled, headers={"X-Forwarded-For": f"6.6.6.6, {client}, 10.9.9.9"})

        assert [(await sent("1.1.1.1")).status_code for _ in range(3)] == [303, 303, 429]
        refused = await sent("1.1.1.1")
        assert "Réessayez dans 60 min" in refused.text
        assert fields(refused.text)["text"] == filled["text"]
        assert (await sent("2.2.2.2")).status_code == 303
    async with site.browser(address="8.8.8.8") as browser:
        codes = [(await sent("3.3.3.3")).status_code, (await sent("4.4.4.4")).status_code]
        assert codes == [303, 303]
        assert (await sent("5.5.5.5")).status_code == 429  # nobody trusts what 8.8.8.8 forwards


async def test_another_sites_form_is_refused(browser: httpx.AsyncClient, services: Any, filled: Any) -> None:
    for origin in ("https://evil.example", "null"):
        answer = await browser.post("/file", data=filled, headers={"Origin": origin})
        assert answer.status_code == 403
    assert services.filed == []


async def test_too_much_is_refused_while_it_arrives(browser: httpx.AsyncClient, monkeypatch: Any) -> None:
    for middleware in browser._transport.app.user_middleware:  # type: ignore[attr-defined]
        if "largest" in middleware.kwargs:
            middleware.kwargs["largest"] = 1000
    answer = await browser.post("/file/check", data={"text": "x" * 2000})
    assert answer.status_code == 413


async def test_no_personal_data_is_logged(
    browser: httpx.AsyncClient, services: Any, filled: Any, capsys: pytest.CaptureFixture[str], no_waiting: Any
) -> None:
    await browser.post("/file", data=filled)
    services.away = {"intake"}
    await browser.post("/file", data=filled | {"key": "another-key"})
    written = capsys.readouterr()
    logged = written.out + written.err
    assert "complaint not taken" in logged
    for personal in ("lampadaire", "Salma", "salma@", "0612345678", "612345678", next(iter(services.codes.values()))):
        assert personal not in logged
