"""Identifiers that their form and their check digits tell together, without a word near them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from mitmgate.scan.validators.pii_americas import (
    ar_cuit,
    br_cnpj,
    br_cpf,
    ca_sin,
    cl_rut,
    mx_curp,
)
from mitmgate.scan.validators.pii_digits import is_monotone, is_uniform, letters, numbers
from mitmgate.scan.validators.pii_east_south import (
    ae_id,
    au_abn,
    cn_resident,
    in_aadhaar,
    in_gstin,
    jp_my_number,
    kr_rrn,
    sg_nric,
    th_id,
    tr_tckn,
    tw_id,
    za_id,
)
from mitmgate.scan.validators.pii_europe import (
    be_nn,
    ch_ahv,
    de_document,
    de_health,
    de_social,
    es_nif,
    fr_nir,
    it_fiscal_code,
    pl_pesel,
    uk_driving,
)
from mitmgate.scan.validators.pii_north_east import (
    cz_sk_number,
    ee_lt_code,
    fi_hetu,
    lv_code,
    no_fnr,
    ro_cnp,
    se_personnummer,
)

type _Checks = tuple[Callable[[str], bool], ...]


def shape(value: str) -> str:
    """Return *value* with 9 for every digit, A for every letter; other signs stay."""
    return "".join(["9" if c.isdecimal() else "A" if c.isalpha() else c for c in value])


def _varied(value: str) -> bool:
    digits = numbers(value)
    return not is_uniform(digits[:-1]) and not is_monotone(digits)


def _has_form(value: str) -> bool:
    """Accept what no check digit protects: its form alone is rare enough."""
    return _varied(value)


def _kr_driver(value: str) -> bool:
    return 11 <= int(value[:2]) <= 28 and _varied(value)


_BY_SHAPE: Mapping[str, _Checks] = {
    "999999A9999": (fi_hetu,),
    "999999A999A": (fi_hetu,),
    "999999-999A": (fi_hetu,),
    "999999+999A": (fi_hetu,),
    "999999-9999": (se_personnummer, fi_hetu),
    "999999+9999": (se_personnummer, fi_hetu),
    "99999999-9999": (se_personnummer,),
    "999999/9999": (cz_sk_number,),
    "999999-99999": (lv_code,),
    "999999-9999999": (kr_rrn,),
    "999999 99999": (no_fnr,),
    "99-99-999999-99": (_kr_driver,),
    "A9999999A": (es_nif, sg_nric),
    "A-9999999-A": (es_nif,),
    "A9999999-A": (es_nif,),
    "99999999A": (es_nif,),
    "99999999-A": (es_nif,),
    "9999999-A": (es_nif,),
    "999.999.999-99": (br_cpf,),
    "99.999.999/9999-99": (br_cnpj,),
    "99-99999999-9": (ar_cuit,),
    "9.999.999-9": (cl_rut,),
    "9.999.999-A": (cl_rut,),
    "99.999.999-9": (cl_rut,),
    "99.999.999-A": (cl_rut,),
    "99.99.99-999.99": (be_nn,),
    "999.9999.9999.99": (ch_ahv,),
    "99999-9999999-9": (_has_form,),
    "9999 9999 9999": (in_aadhaar, jp_my_number),
    "9999-9999-9999": (in_aadhaar, jp_my_number),
    "999 999 999": (ca_sin,),
    "999-999-999": (ca_sin,),
    "99 999 999 999": (au_abn,),
    "999-9999-9999999-9": (ae_id,),
    "9-9999-99999-99-9": (th_id,),
    "AAAA999999AAAAAA99": (mx_curp,),
    "AAAA999999AAAAAAA9": (mx_curp,),
    "AAAAAA99A99A999A": (it_fiscal_code,),
    "99AAAAA9999A9A9": (in_gstin,),
    "99AAAAA9999A9AA": (in_gstin,),
    "A999999999": (de_health, tw_id),
    "A99999999": (de_document,),
    "99999999A999": (de_social,),
    "99 999999 A 999": (de_social,),
    "999999999999999": (ae_id, fr_nir),
    "9 99 99 99 999 999 99": (fr_nir,),
    "99999999999": (tr_tckn, pl_pesel, ee_lt_code, no_fnr),
    "9999999999999": (za_id, ro_cnp),
    "99999999999999999A": (cn_resident,),
    "999999999999999999": (cn_resident,),
}


def national_id(value: str) -> bool:
    """Tell whether *value* is, by its form and its check digits, the id of some country."""
    digits = numbers(value)
    if is_monotone(digits) and not is_uniform(digits):
        return False
    checks = _BY_SHAPE.get(shape(value))
    if checks is not None:
        return any(check(value) for check in checks)
    text = letters(value)
    return len(text) == 16 and text[-1].isalpha() and uk_driving(value)


def national_id_shapes() -> Iterable[str]:
    """Return the forms that :func:`national_id` knows: 9 for a digit, A for a letter."""
    return _BY_SHAPE.keys()


SHAPES: Mapping[str, Callable[[str], bool]] = {"national-id": national_id}
