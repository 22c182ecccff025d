"""The same server over HTTP+SSE, the transport of 2024-11-05: ``CERTIFICATE``."""

from __future__ import annotations

import sys
from pathlib import Path

from sdk_client_server import ANYBODY, build
from sdk_client_tools import serve

if __name__ == "__main__":
    serve(build().sse_app(transport_security=ANYBODY), Path(sys.argv[1]))
