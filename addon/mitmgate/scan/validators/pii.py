"""Check digits and structures of personal data, by the names that rules give."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mitmgate.scan.validators.pii_americas import AMERICAN
from mitmgate.scan.validators.pii_digits import luhn
from mitmgate.scan.validators.pii_east_south import ASIAN_AND_SOUTHERN
from mitmgate.scan.validators.pii_europe import WESTERN
from mitmgate.scan.validators.pii_network import NETWORK
from mitmgate.scan.validators.pii_north_east import NORTHERN_AND_EASTERN
from mitmgate.scan.validators.pii_payment import PAYMENT
from mitmgate.scan.validators.pii_shapes import SHAPES

__all__ = ["PII_VALIDATORS", "luhn"]

PII_VALIDATORS: Mapping[str, Callable[[str], bool]] = {
    "luhn": luhn,
    **PAYMENT,
    **NETWORK,
    **WESTERN,
    **NORTHERN_AND_EASTERN,
    **AMERICAN,
    **ASIAN_AND_SOUTHERN,
    **SHAPES,
}
"""Each takes a value as it stands in a text and says whether it can be what it looks like."""
