"""Checks that a shape alone cannot make: checksums, structures, whether a value is random.

A validator takes the value as text and says whether it may be what its rule looks for. It is
total: False, never an error, for whatever it cannot read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mitmgate.scan.validators.pii import PII_VALIDATORS
from mitmgate.scan.validators.randomness import looks_random
from mitmgate.scan.validators.secrets import SECRET_VALIDATORS

type Validator = Callable[[str], bool]

VALIDATORS: Mapping[str, Validator] = {
    "random": looks_random,
    **SECRET_VALIDATORS,
    **PII_VALIDATORS,
}
"""By the name that a rule's ``validator`` gives."""
