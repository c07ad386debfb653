"""Languages on texts written for this test, in no corpus."""

import pytest
from chikaya_routing.domain.judgement import Classifier, Submission
from chikaya_routing.domain.language import identify, scripts

TEXTS = [
    ("fr", "La poubelle de mon immeuble déborde depuis lundi"),
    ("fr", "bonjour jai pas recu ma carte depuis trois mois"),
    ("fr", "Pourriez-vous me dire quand la route sera réparée ?"),
    ("fr", "mon pere est malade et personne ne veut le recevoir"),
    ("ar", "لم أتوصل بأي رد على طلبي منذ شهر"),
    ("ar", "أطلب منكم التدخل العاجل لحل هذا المشكل"),
    ("ar", "نلتمس من سيادتكم النظر في وضعيتنا"),
    ("ary_Arab", "واش كاين شي حد يجاوبني راه عييت من الانتظار"),
    ("ary_Arab", "بغيت غير نعرف علاش قطعو عليا الضو"),
    ("ary_Arab", "مشيت عندهم ثلاثة د المرات وما لقيت حتى واحد"),
    ("ary_Latn", "salam bghit n3raf 3lach mab9ach lma f dar"),
    ("ary_Latn", "wach kayn chi 7ed yjawbni rah 3yit"),
    ("ary_Latn", "mchit 3ndhom gal liya rje3 ghedda"),
    ("mixed", "J'ai payé la facture w mazal ma rj3ouch liya la lumière"),
    ("mixed", "la machine مخسرة من شهر والممرضة كتقول لينا appel d'offres"),
    ("en", "The train was two hours late and nobody told us why"),
    ("en", "I would like to know how to renew my licence"),
    ("zgh", "ⵓⵔ ⵉⵍⵍⵉ ⵡⴰⵎⴰⵏ ⴳ ⵓⴷⵓⵡⴰⵔ"),
    ("zgh", "Azul, ur ufigh aman g tgmmi inu"),
    ("other", "Bitte helfen Sie mir, ich habe meinen Pass verloren"),
    ("other", "Necesito ayuda porque perdí mi equipaje en el aeropuerto"),
    ("other", "Yardım edin lütfen, bavulum kayboldu"),
    ("other", "Помогите, пожалуйста, я потерял паспорт"),
    ("other", "请帮助我，我的护照丢了"),
    ("other", "Ho perso la valigia all'aeroporto, potete aiutarmi?"),
    ("other", "میرا سامان کھو گیا ہے"),
    ("other", "Kan iemand mij helpen met deze rekening?"),
    ("other", "Παρακαλώ βοηθήστε με"),
]


@pytest.mark.parametrize(("language", "text"), TEXTS)
def test_a_text_is_in_its_language(classifier: Classifier, language: str, text: str) -> None:
    [judgement] = classifier.judge([Submission(text)])
    assert judgement.language.language == language


@pytest.mark.parametrize("text", ["", "12345", "😡😡😡", "?!…"])
def test_a_text_without_letters_is_in_no_language(text: str) -> None:
    guess = identify(text, {"fr": 1.0})
    assert (guess.language, guess.confidence) == ("other", 0.0)


def test_scripts_are_counted_by_letter() -> None:
    found = scripts("abé 12 ابت ⴰⵣ мир ğ")
    assert (found.latin, found.arabic, found.tifinagh, found.elsewhere, found.foreign) == (4, 3, 2, 3, 1)


def test_a_name_in_another_script_does_not_make_a_text_mixed() -> None:
    guess = identify("توجهت إلى الوكالة من أجل الحصول على شهادة التسجيل لدى CNSS", {"ar": 0.9, "mixed": 0.1})
    assert guess.language == "ar"
