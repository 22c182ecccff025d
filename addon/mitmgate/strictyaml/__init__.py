"""The one way to read YAML: strict, bounded, with the line of every key.

What two YAML readers could read differently is refused here, so that the policy an
operator reads is the policy that is enforced. Nothing here knows what the files mean.
"""

from __future__ import annotations

from mitmgate.strictyaml.document import Document, KeyPath, did_you_mean, refuse
from mitmgate.strictyaml.reader import load, read_file
from mitmgate.strictyaml.validate import load_model, validate

__all__ = [
    "Document",
    "KeyPath",
    "did_you_mean",
    "load",
    "load_model",
    "read_file",
    "refuse",
    "validate",
]
