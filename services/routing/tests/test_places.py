"""Communes found in texts and in what the form says."""

import pytest
from chikaya_routing.domain.places import Gazetteer, Place

CASABLANCA, RABAT, SALE, FES = "06.141.01.0", "04.421.01.0", "04.441.01.0", "03.231.01.0"
KENITRA, EL_JADIDA, SAFI = "04.281.01.0", "06.181.01.03", "07.431.01.0"


def commune(place: Place) -> str | None:
    return place.commune.name_fr if place.commune else None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("La poubelle déborde à Salé depuis 3 jours", "Salé"),
        ("السلام، الزبل كثير فسلا", "Salé"),
        ("بمدينة الجديدة", "El Jadida"),
        ("zbel f casa hay mohammadi", "Casablanca"),
        ("dar lbida", "Casablanca"),
        ("f kaza", "Casablanca"),
        ("الدار البيضاء سيدي مومن", "Casablanca"),
        ("arrondissement de Sidi Moumen", "Casablanca"),
        ("f safi lma ma kaynch", "Safi"),
        ("f l9nitra", "Kénitra"),
        ("للقنيطرة", "Kénitra"),
        ("الحفر فشوارع القنيطرة", "Kénitra"),
        ("Fes", "Fès"),
        ("Fès, quartier Bensouda", "Fès"),
        ("مقاطعة زواغة", "Fès"),
        ("Khribga", "Khouribga"),
        ("beni mellal", "Béni Mellal"),
        ("بني ملال", "Béni Mellal"),
        ("aytmelloul", "Ait Melloul"),
        ("mdiq", "M'diq"),
        ("M'diq", "M'diq"),
        ("ولاد تايمة", "Oulad Teima"),
        ("بالرباط", "Rabat"),
        ("وبالرباط", "Rabat"),
        ("el kelaa des sraghna", "Kelâat Sraghna"),
        ("rue Hassan II à Meknès", "Meknès"),
        ("Youssoufia, Rabat", "Rabat"),
        ("Sidi Bouknadel près de Salé", "Sidi Bouknadel"),
        ("commune de Oulad Aissa, province de Taroudannt", "Oulad Aissa"),
    ],
)
def test_a_text_names_its_commune(gazetteer: Gazetteer, text: str, name: str) -> None:
    place = gazetteer.find(text)
    assert (place.certainty, commune(place), place.source) == ("commune", name, "text")
    assert place.words


@pytest.mark.parametrize(
    "text",
    [
        "ma rue est sale et safi",
        "السيارة الجديدة خاسرة",
        "صافي عييت داخل الدار",
        "avenue Mohammed V",
        "le jardin des palmiers",
        "كنت فالكار مع الصباح",
        "ما كيسولوش علينا",
        "",
        "😡",
    ],
)
def test_everyday_words_are_no_places(gazetteer: Gazetteer, text: str) -> None:
    assert gazetteer.find(text).certainty == "none"


def test_communes_of_one_name_are_ambiguous_until_the_province_is_named(gazetteer: Gazetteer) -> None:
    assert gazetteer.find("جماعة أولاد عيسى").certainty == "ambiguous"
    assert len(gazetteer.find("Oulad Aissa").candidates) == 3
    settled = gazetteer.find("Oulad Aissa, Taroudannt")
    assert (settled.certainty, settled.province) == ("commune", "09.541")


def test_two_towns_in_one_text_are_ambiguous(gazetteer: Gazetteer) -> None:
    place = gazetteer.find("je vais de Rabat à Marrakech chaque semaine")
    assert place.certainty == "ambiguous"
    assert {candidate.name_fr for candidate in place.candidates} == {"Rabat", "Marrakech"}


def test_a_province_alone_is_only_a_province(gazetteer: Gazetteer) -> None:
    assert gazetteer.find("إقليم تازة").certainty == "province"
    assert gazetteer.find("province d'Al Haouz").province == "07.041"


@pytest.mark.parametrize("code", [CASABLANCA, "06-141-01-0", "commune-06-141-01-0", "06.141.01.53", "06.141.01.00"])
def test_a_code_in_the_form_is_its_commune(gazetteer: Gazetteer, code: str) -> None:
    place = gazetteer.find("", code)
    assert (place.certainty, commune(place), place.source) == ("commune", "Casablanca", "form")
    assert place.commune is not None
    assert place.commune.slug == "commune-06-141-01-0"


@pytest.mark.parametrize(
    ("typed", "name"),
    [("Sale", "Salé"), ("Casablnca", "Casablanca"), ("jdida", "El Jadida"), ("Khmisst", "Khémisset"), ("سلا", "Salé")],
)
def test_what_a_citizen_types_as_the_place_is_understood(gazetteer: Gazetteer, typed: str, name: str) -> None:
    assert commune(gazetteer.find("", typed)) == name


def test_the_form_goes_before_the_text(gazetteer: Gazetteer) -> None:
    assert commune(gazetteer.find("J'habite Rabat", SALE)) == "Salé"


def test_a_province_in_the_form_settles_which_commune_the_text_means(gazetteer: Gazetteer) -> None:
    place = gazetteer.find("commune d'Oulad Aissa", "09.541")
    assert place.certainty == "commune"
    assert place.province == "09.541"


def test_nonsense_in_the_form_leaves_the_text(gazetteer: Gazetteer) -> None:
    assert commune(gazetteer.find("les rues de Fès", "zzz")) == "Fès"


def test_every_commune_is_found_by_its_own_code_and_most_by_name(gazetteer: Gazetteer) -> None:
    communes = gazetteer.communes()
    assert len(communes) == 1503
    assert all(gazetteer.by_code(one.code).commune == one for one in communes)
    by_french = sum(one in gazetteer.find("", one.name_fr).candidates for one in communes)
    by_arabic = sum(one in gazetteer.find("", one.name_ar).candidates for one in communes)
    assert by_french > 1480
    assert by_arabic > 1480
