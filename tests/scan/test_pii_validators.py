"""Check digits against the specimens that issuers and standards print, and against neighbours."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.scan.validators.pii import PII_VALIDATORS
from mitmgate.scan.validators.pii_digits import luhn, numbers
from mitmgate.scan.validators.pii_shapes import national_id, national_id_shapes

# Printed in manuals, standards and forms: nobody's own.
SPECIMENS: dict[str, tuple[str, ...]] = {
    "card": ("4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005", "3530111333300000"),
    "iban": ("DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819", "NO93 8601 1117 947"),
    "us-aba": ("111000025", "011401533"),
    "mx-clabe": ("032180000118359719",),
    "imei": ("490154203237518", "35-686800-004141-8"),
    "vin": ("1M8GDM9AXKP042788", "1HGCM82633A004352"),
    "wallet": (
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
    ),
    "uk-nhs": ("943 476 5919",),
    "de-tax-id": ("36574261809", "86095742719"),
    "de-document": ("T220001293", "C01234565"),
    "de-social": ("65170839J003", "15070649C103"),
    "de-health": ("A123456780",),
    "fr-nir": ("2 95 10 99 126 111 93", "253072B07300470"),
    "es-nif": ("54362315K", "54362315-K", "X2482300W"),
    "it-fiscal-code": ("RCCMNL83S18D969H", "RSSMRA85T10A562S"),
    "it-vat": ("00743110157",),
    "pl-pesel": ("44051401359", "02070803628"),
    "pl-nip": ("856-734-62-15",),
    "pl-regon": ("192598184",),
    "pl-id-card": ("ABA300000",),
    "pt-nif": ("501964843",),
    "nl-bsn": ("111222333",),
    "be-nn": ("85.07.30-033.28",),
    "at-svnr": ("1237 010180",),
    "ch-ahv": ("756.9217.0769.85",),
    "ie-pps": ("6433435F", "6433435OA"),
    "gr-amka": ("01013099997",),
    "gr-afm": ("094259216",),
    "se-personnummer": ("811228-9874", "19811228-9874", "670919-9530"),
    "fi-hetu": ("131052-308T", "131052A308T"),
    "no-fnr": ("15108695088",),
    "is-kennitala": ("120174-3399",),
    "ee-lt-code": ("37605030299", "33309240064"),
    "lv-code": ("161175-19997",),
    "cz-sk-number": ("710319/2745",),
    "ro-cnp": ("1630615123457",),
    "bg-egn": ("7523169263", "8032056031"),
    "hr-oib": ("33392005961",),
    "jmbg": ("0101006500006",),
    "ru-inn": ("500100732259", "7707083893"),
    "ru-snils": ("112-233-445 95",),
    "us-npi": ("1234567893",),
    "us-dea": ("AB1234563",),
    "ca-sin": ("123-456-782",),
    "br-cpf": ("390.533.447-05",),
    "br-cnpj": ("16.727.230/0001-97",),
    "mx-curp": ("BOXW310820HNERXN09",),
    "ar-cuit": ("20-05536168-2",),
    "cl-rut": ("12.531.909-2", "76086428-5"),
    "co-nit": ("213.123.432-1",),
    "pe-ruc": ("20512333797",),
    "ec-cedula": ("171430710-3",),
    "do-cedula": ("00113918205",),
    "tr-tckn": ("17291716060",),
    "il-id": ("3933742-3".zfill(10),),
    "in-aadhaar": ("2341 2341 2346",),
    "in-gstin": ("27AAPFU0939F1ZV",),
    "kr-business": ("116-82-00276",),
    "cn-resident": ("11010519491231002X", "440524188001010014"),
    "tw-id": ("A123456789",),
    "hk-id": ("A123456(3)",),
    "sg-nric": ("S1234567D", "T1234567J"),
    "th-id": ("1-1234-56789-01-" + "?",),
    "au-tfn": ("123 456 782",),
    "au-abn": ("51 824 753 556",),
    "au-acn": ("004 085 616",),
    "au-medicare": ("2123 45670 1",),
    "nz-ird": ("49-091-850", "4909185-0"),
    "za-id": ("7503305044089",),
}
THAI = "110120003535"
SPECIMENS["th-id"] = (
    THAI
    + str((11 - sum(int(d) * w for d, w in zip(THAI, range(13, 1, -1), strict=True)) % 11) % 10),
)

# What their check cannot see: a changed last sign that no check digit covers.
LAST_SIGN_IS_FREE = frozenset(
    {"vin", "au-medicare", "ie-pps", "pl-id-card", "cn-resident", "hk-id", "is-kennitala"}
)

CASES = [(name, value) for name, values in SPECIMENS.items() for value in values]


@pytest.mark.parametrize(("name", "value"), CASES, ids=[f"{n} {v}" for n, v in CASES])
def test_a_printed_specimen_is_accepted(name: str, value: str) -> None:
    assert PII_VALIDATORS[name](value)


CHECKED = [
    (name, value)
    for name, value in CASES
    if name not in LAST_SIGN_IS_FREE and value[-1].isdecimal()
]


@pytest.mark.parametrize(("name", "value"), CHECKED, ids=[f"{n} {v}" for n, v in CHECKED])
def test_another_last_digit_is_refused(name: str, value: str) -> None:
    others = {value[:-1] + digit for digit in "0123456789"} - {value}
    assert not [other for other in others if PII_VALIDATORS[name](other)]


@pytest.mark.parametrize("name", sorted(PII_VALIDATORS))
def test_a_validator_refuses_what_it_cannot_read(name: str) -> None:
    for value in ("", "-", "x", "ä" * 11, "٣" * 11, "\x00", "0" * 40, "Z" * 18, "9" * 3):
        assert PII_VALIDATORS[name](value) in {False, name == "luhn"}, value


@given(st.sampled_from(sorted(PII_VALIDATORS)), st.text(max_size=40))
def test_a_validator_is_total(name: str, value: str) -> None:
    assert PII_VALIDATORS[name](value) in {True, False}


@given(st.sampled_from(sorted(PII_VALIDATORS)), st.text("0123456789ABCXZabx -./+()", max_size=24))
def test_a_validator_is_total_on_what_looks_like_a_number(name: str, value: str) -> None:
    assert PII_VALIDATORS[name](value) in {True, False}


def test_luhn_leaves_out_what_is_no_digit() -> None:
    assert luhn("4111-1111-1111-1111")
    assert not luhn("4111-1111-1111-1112")
    assert not luhn("4")


def test_one_wrong_digit_anywhere_is_seen_by_the_strong_checks() -> None:
    for name in ("card", "iban", "de-tax-id", "tr-tckn", "in-aadhaar", "ch-ahv"):
        value = SPECIMENS[name][0]
        places = [at for at, sign in enumerate(value) if sign.isdecimal()]
        for at in places:
            for other in set("0123456789") - {value[at]}:
                assert not PII_VALIDATORS[name](value[:at] + other + value[at + 1 :]), (name, at)


IMPOSSIBLE = {
    "a month that is none": ("pl-pesel", "44951401359"),
    "the 30th of February": ("se-personnummer", "810230-9874"),
    "an area that is never given out": ("us-ssn", "666-12-3456"),
    "a group of zeros": ("us-ssn", "418-00-3456"),
    "a serial of zeros": ("us-ssn", "418-27-0000"),
    "a count upwards": ("us-ssn", "123-45-6789"),
    "a prefix that is not in use": ("uk-nino", "BG123456A"),
    "an octet over 255": ("ipv4", "300.1.2.3"),
    "five numbers": ("ipv4", "1.2.3.4.5"),
    "a prefix length over 32": ("ipv4", "10.0.0.0/64"),
    "two gaps": ("ipv6", "2001::25de::cade"),
    "a card of one digit": ("mac", "00:00:00:00:00:00"),
    "a country code that is none": ("phone", "+999 1234 56789"),
    "an area code that begins with 1": ("phone-us", "115-555-0132"),
    "an IBAN of a country without IBANs": ("iban", "XX89 3704 0044 0532 0130 00"),
    "letters where the country has digits": ("iban", "DE89 3704 0044 0532 0130 0A"),
}


@pytest.mark.parametrize(("name", "value"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_cannot_be_is_refused(name: str, value: str) -> None:
    assert not PII_VALIDATORS[name](value)


def test_random_digits_are_seldom_the_id_of_a_person() -> None:
    shapes = [shape for shape in national_id_shapes() if "A" not in shape]
    for form in shapes:
        values = [_filled(form, number) for number in range(400)]
        share = sum(map(national_id, values)) / len(values)
        # Two forms are accepted for themselves: nothing else is written that way.
        assert share < 0.25 or form in {"99999-9999999-9", "99-99-999999-99"}, (form, share)


def _filled(form: str, number: int) -> str:
    drawn = iter(str(int(sha256(f"{form} {number}".encode()).hexdigest(), 16)))
    return "".join(next(drawn) if sign == "9" else sign for sign in form)


def test_numbers_reads_ascii_digits_only() -> None:
    assert numbers("1a2-٣") == [1, 2]
