"""Personal data in sentences: found by the rule that names it, silent where a digit is wrong."""

from __future__ import annotations

import pytest

from mitmgate.scan.engine import Scanner
from mitmgate.scan.packs import Pack
from mitmgate.wire.surfaces import Surface


@pytest.fixture(scope="module")
def pii(packs: tuple[Pack, ...]) -> Scanner:
    return Scanner([pack for pack in packs if pack.detector == "pii"], hash_key=b"key of the tests")


def rules(scanner: Scanner, text: str) -> set[str]:
    found = scanner.scan_text(Surface.RESULTS, "", text)
    return {finding.rule.removeprefix("pii.") for finding in found if not finding.view}


def luhn_digit(body: str) -> str:
    total = 0
    for place, letter in enumerate(reversed(body)):
        digit = int(letter) * (2 if place % 2 == 0 else 1)
        total += digit - 9 if digit > 9 else digit
    return str(-total % 10)


def iban(country: str, account: str) -> str:
    number = int("".join(str(int(letter, 36)) for letter in f"{account}{country}00"))
    return f"{country}{98 - number % 97:02d}{account}"


def spaced(text: str, *sizes: int) -> str:
    parts, at = [], 0
    for size in sizes:
        parts.append(text[at : at + size])
        at += size
    return " ".join(parts)


def wrong(text: str) -> str:
    """Return *text* with its last digit changed."""
    at = max(place for place, letter in enumerate(text) if letter.isdecimal())
    return f"{text[:at]}{(int(text[at]) + 1) % 10}{text[at + 1 :]}"


VISA = "453972821046359"
VISA += luhn_digit(VISA)
AMEX = "37829046152881"
AMEX += luhn_digit(AMEX)
SIN = "48201937"
SIN += luhn_digit(SIN)
DE_IBAN = iban("DE", "370502000841906327")
NL_IBAN = iban("NL", "RABO0348201937")

# sentence: (rule, text); the value in it ends with its check digit.
CHECKED = {
    "a card in prose": ("credit-card", f"Charge it to {VISA}"),
    "a card in groups": ("credit-card", f"Charge it to {spaced(VISA, 4, 4, 4, 4)}"),
    "an American Express card": ("credit-card", f'{{"pan": "{spaced(AMEX, 4, 6, 5)}"}}'),
    "an IBAN in groups": ("iban", f"Konto {spaced(DE_IBAN, 4, 4, 4, 4, 4, 2)}"),
    "an IBAN without groups": ("iban", f'{{"iban":"{NL_IBAN}"}}'),
    "a German tax id": ("de-tax-id", "Meine Steuer-ID lautet 36574261809"),
    "a German health number": ("de-health-insurance", "Krankenkasse AOK, A123456780"),
    "a German pension number": ("de-social-insurance", "Rentenversicherung: 65 170839 J 003"),
    "a French NIR": ("fr-nir", "Sécurité sociale n° 2 95 10 99 126 111 93"),
    "a British NHS number": ("uk-nhs", "NHS number 943 476 5919"),
    "a Polish PESEL": ("pl-pesel", "PESEL: 44051401359"),
    "a Dutch BSN": ("nl-bsn", "BSN 111222333"),
    "a Belgian number": ("be-national-number", "Rijksregisternummer 85.07.30-033.28"),
    "a Swiss AHV number": ("ch-ahv", "AHV-Nr. 756.9217.0769.85"),
    "an Italian VAT number": ("it-vat", "Partita IVA 00743110157"),
    "a Swedish personnummer": ("se-personnummer", "Personnummer 811228-9874"),
    "a Norwegian number": ("no-fnr", "Fødselsnummer 15108695088"),
    "an Estonian code": ("ee-lt-code", "Isikukood 37605030299"),
    "a Latvian code": ("lv-code", "Personas kods 161175-19997"),
    "a Czech birth number": ("cz-sk-number", "Rodné číslo 710319/2745"),
    "a Romanian CNP": ("ro-cnp", "Codul numeric personal 1630615123457"),
    "a Bulgarian EGN": ("bg-egn", "ЕГН 7523169263"),
    "a Croatian OIB": ("hr-oib", "Moj OIB 33392005961"),
    "a Russian SNILS": ("ru-snils", "СНИЛС 112-233-445 95"),
    "a Canadian SIN": ("ca-sin", f"Social insurance number {spaced(SIN, 3, 3, 3)}"),
    "a Brazilian CPF": ("br-cpf", "CPF 390.533.447-05"),
    "a Brazilian CNPJ": ("br-cnpj", "CNPJ 16.727.230/0001-97"),
    "an Argentine CUIT": ("ar-cuit", "CUIT 20-05536168-2"),
    "a Chilean RUT": ("cl-rut", "Mi RUT 12.531.909-2"),
    "a Mexican CLABE": ("mx-clabe", "CLABE 032180000118359719"),
    "a US provider number": ("us-npi", "The NPI is 1234567893"),
    "a US routing number": ("us-routing-number", "Routing 111000025"),
    "a Turkish number": ("tr-tckn", "TC Kimlik No 17291716060"),
    "an Aadhaar number": ("in-aadhaar", "Aadhaar 2341 2341 2346"),
    "a Taiwanese id": ("tw-id", "身分證 A123456789"),
    "an Australian TFN": ("au-tfn", "Tax file number 123 456 782"),
    "an Australian ABN": ("au-abn", "The ABN is 51 824 753 556"),
    "a New Zealand IRD number": ("nz-ird", "Inland Revenue 49-091-850"),
    "a South African id": ("za-id", "South African ID 7503305044089"),
    "an IMEI": ("imei", "IMEI 490154203237518"),
}


@pytest.mark.parametrize(("rule", "text"), CHECKED.values(), ids=CHECKED)
def test_a_number_is_found_by_its_rule(pii: Scanner, rule: str, text: str) -> None:
    assert rule in rules(pii, text)


@pytest.mark.parametrize(("rule", "text"), CHECKED.values(), ids=CHECKED)
def test_a_wrong_check_digit_is_not_found(pii: Scanner, rule: str, text: str) -> None:
    assert rule not in rules(pii, wrong(text))


FOUND = {
    "an address in a sentence": ("email", "Ask mara.lindqvist@mail.example.org."),
    "an address in a header": ("email", "From: Mara <mara+list@example.co.uk>"),
    "an address with an international domain": ("email", "info@xn--bcher-kva.example"),
    "a number with its country code": ("phone", "Ring +49 (30) 9018 2447 1"),
    "a number in brackets": ("phone-us", "Office (415) 555-0132"),
    "a number behind a word": ("phone-named", "Telefon: 030 901 820"),
    "a number behind a Chinese word": ("phone-named", "手机号码：13800138427"),
    "an IPv4 network": ("ipv4", "route 10.20.0.0/16 via eth0"),
    "an IPv6 address in brackets": ("ipv6", "http://[2001:db8:4::7]:8080/"),
    "a network card": ("mac-address", "ether 3c:52:82:a1:0f:9e"),
    "a Bitcoin address": ("wallet", "bitcoin:1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    "a social security number": ("us-ssn", "ssn=418-27-5093"),
    "a social security number without dashes": ("us-ssn-named", "Social Security 418275093"),
    "a Medicare number": ("us-mbi", "Medicare 1EG4-TE5-MK73"),
    "a National Insurance number": ("uk-nino", "NI: AB 37 41 92 C"),
    "a passport": ("passport", "Her passport number is K4837201"),
    "a German passport": ("passport", "Reisepass C01X00T47"),
    "a driving licence": ("driving-licence", "driver's license D4183927"),
    "a birthday": ("date-of-birth", "geboren am 17.03.1984 in Kiel"),
    "a birthday as a field": ("date-of-birth", '{"dob": "1984-03-17"}'),
    "a Finnish code": ("fi-hetu", "Henkilötunnus 131052-308T"),
    "a Spanish NIE": ("es-nif", "Mi NIE: X2482300W"),
    "an Italian code": ("it-fiscal-code", "codice fiscale RCCMNL83S18D969H"),
    "a Mexican CURP": ("mx-curp", "CURP BOXW310820HNERXN09"),
    "a Chinese number": ("cn-resident", "身份证 11010519491231002X"),
    "a Hong Kong card": ("hk-id", "HKID A123456(3)"),
    "a Singaporean NRIC": ("sg-nric", "NRIC S1234567D"),
    "a Korean number": ("kr-rrn", "주민등록번호 900101-1234568"),
    "an Indian PAN": ("in-pan", "PAN: BKLPM4820N"),
    "a Ghana card": ("gh-card", "Ghana card GHA-482019375-6"),
    "a bank account": ("bank-account", "Account number: 4820193756"),
    "a patient": ("medical-record", "MRN: 48201937"),
    "a number without a word": ("national-id", '{"note": "131052-308T"}'),
    "a Chinese number without a word": ("national-id", "440524188001010014"),
}


@pytest.mark.parametrize(("rule", "text"), FOUND.values(), ids=FOUND)
def test_personal_data_is_found(pii: Scanner, rule: str, text: str) -> None:
    assert rule in rules(pii, text)


SILENT = {
    "a price list": "12 x 4.50 = 54.00, 3 x 120.00 = 360.00",
    "a date and a time": "2024-01-15T10:30:45.123456+01:00",
    "a timestamp": '{"ts": 1712345678901, "ns": 1712345678901234567}',
    "a decimal fraction": f"0.{VISA}",
    "a version": 'requires = ["acme>=2.13.4", "tool==10.0.1rc2"]',
    "a commit": "commit 4f1e9a7c30b24f1e9a7c30b24f1e9a7c30b2dd01",
    "a UUID": "7c1e90ab-35f2-4884-9c06-e4bb5a90d3e1",
    "a package": "npm install lodash@4.17.21",
    "a remote": "git clone git@github.com:acme/app.git",
    "C++ names": "std::vector<std::string> a = b::c();",
    "a Haskell type": "size :: Int -> Int",
    "a range of lines": "lines 100-120, 300-420 and 5-10",
    "an account of a cloud": "arn:aws:iam::482019375642:role/build",
    "pixels": "1920x1080, 3840x2160 @ 60",
    "a word that holds another": "the company manifest is in the basin of truth 123",
    "a big number in groups": "The town has 1 482 019 people and 12 345 trees",
    "ids of tickets": "ACME-48201, PR #19375, issue 4820193",
}


@pytest.mark.parametrize("text", SILENT.values(), ids=SILENT)
def test_ordinary_numbers_are_silent(pii: Scanner, text: str) -> None:
    assert rules(pii, text) == set()


def test_the_value_is_the_number_itself(pii: Scanner) -> None:
    text = f"Telefon: 030 901 820, Karte {VISA}."
    found = {f.rule: text[f.start : f.end] for f in pii.scan_text(Surface.RESULTS, "", text)}
    assert found == {"pii.phone-named": "030 901 820", "pii.credit-card": VISA}


def test_a_rule_of_a_country_speaks_before_the_form(pii: Scanner) -> None:
    assert rules(pii, "for 811228-9874") == {"national-id"}
    assert rules(pii, "personnummer 811228-9874") >= {"se-personnummer"}
    assert "national-id" not in rules(pii, "personnummer 811228-9874")
