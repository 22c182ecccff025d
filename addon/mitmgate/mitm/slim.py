"""Loads the few addons of mitmproxy that a gate needs, and not all forty of them.

``mitmproxy.addons`` imports every addon there is when it is imported itself, Flask, LDAP and web
assets with them: a second of a start, and 40 MB. Its submodules do not need that. Import this
module before any of them; under stock mitmproxy, which has loaded them already, it does nothing.
"""

from __future__ import annotations

import importlib.util
import sys

import mitmproxy

_PACKAGE = "mitmproxy.addons"


def slim() -> bool:
    """Put the package in place without running it; False where it is loaded already."""
    if _PACKAGE in sys.modules:
        return False
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return False  # another mitmproxy than we know: load it as it wants to be
    package = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    vars(mitmproxy)["addons"] = package
    return True


SLIM = slim()
"""Whether this process goes without the other addons."""
