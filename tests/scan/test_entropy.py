"""Data written as names, and names that only look like it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.scan.entropy import is_encoded_name

BYTES = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(12))
QUOTES = str.maketrans('"\\`()[]', "       ")
BASE32 = base64.b32encode(BYTES).decode().lower().rstrip("=")
BASE64 = base64.urlsafe_b64encode(BYTES).decode().rstrip("=")
HEX = BYTES.hex()

DATA: dict[str, tuple[str, str]] = {
    "base32 in one label": (f"{BASE32[:60]}.x.example", "/"),
    "base32 over several labels": (f"{BASE32[:30]}.{BASE32[30:60]}.x.example", "/"),
    "base32 in short labels": (".".join(BASE32[i:i + 16] for i in range(0, 96, 16)) + ".x.example",
                               "/"),
    "hex in labels": (f"{HEX[:60]}.{HEX[60:120]}.x.example", "/"),
    "base64 in the path": ("x.example", f"/collect/{BASE64[:90]}"),
    "base64 in the path, dressed as a picture": ("x.example", f"/i/{BASE64[:90]}.png"),
    "hex in the path": ("x.example", f"/{HEX[:200]}"),
    "a percent-encoded segment": ("x.example", f"/{BASE64[:80]}%2e%70ng"),
    "a segment longer than any name": ("x.example", "/" + "a" * 5000),
}  # fmt: skip

NAMES: dict[str, tuple[str, str]] = {
    "a site": ("docs.python.org", "/3/library/asyncio-task.html"),
    "an old name": ("xn--bcher-kva.example", "/"),
    "an address": ("192.0.2.1", "/"),
    "a distribution of a CDN": ("d111111abcdef8.cloudfront.net", "/assets/index-BmQ3xY2f.js"),
    "a function's host": ("q7h2kd9xw4m1z8r5t6y3v0p2c9b4n7f1.lambda-url.eu-west-1.on.aws", "/"),
    "a bucket": ("my-company-production-build-artifacts.s3.eu-central-1.amazonaws.com", "/x"),
    "a service in a long domain": (
        "prod-payments-internal-gateway.europe-west3.some-very-long-name.run.app.example", "/"),
    "a UUID": ("api.example", "/v1/items/7f9c24e8-3b12-4fbe-9f5a-1f0d6c7b8a90"),
    "a commit": ("git.example", f"/a/b/commit/{HEX[:40]}"),
    "a digest of an image": ("registry.example", f"/v2/a/b/blobs/sha256:{HEX[:64]}"),
    "a SHA-256": ("files.example", f"/{HEX[:64]}"),
    "a SHA-384": ("files.example", f"/{HEX[:96]}"),
    "a SHA-512": ("files.example", f"/{HEX[:128]}.tar.gz"),
    "a wheel": ("files.example", f"/packages/ab/cd/{HEX[:60]}/requests-2.32.3-py3-none-any.whl"),
    "a document's id": ("docs.example", "/document/d/1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms"),
    "a long title": (
        "blog.example",
        "/2024/why-we-moved-all-of-our-services-from-one-cloud-to-another-and-what-it-cost-us"),
    "an encoded title": (
        "wiki.example", "/wiki/" + "%D0%9F%D1%80%D0%B8%D0%B2%D0%B5%D1%82" * 4),
    "a tag of a release": ("git.example", "/releases/download/v1.2.3/tool-x86_64-linux-gnu.tar.gz"),
}  # fmt: skip


@pytest.mark.parametrize(("host", "path"), DATA.values(), ids=DATA)
def test_data(host: str, path: str) -> None:
    assert is_encoded_name(host, path)


@pytest.mark.parametrize(("host", "path"), NAMES.values(), ids=NAMES)
def test_a_name(host: str, path: str) -> None:
    assert not is_encoded_name(host, path)


def test_urls_of_ordinary_traffic_and_of_documentation_are_silent() -> None:
    folder = Path(__file__).parents[2]
    files = [*(folder / "tests/scan/data").iterdir(), *(folder / "docs").glob("*.md")]
    words = {word for file in files for word in file.read_text().translate(QUOTES).split()}
    urls = {word.rstrip(".,;)]}'>") for word in words if word.startswith(("https://", "http://"))}
    assert len(urls) > 50
    named = [(urlsplit(url).hostname or "", urlsplit(url).path, url) for url in urls]
    assert [url for host, path, url in named if is_encoded_name(host, path)] == []


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_name_is_read(host: str, path: str) -> None:
    is_encoded_name(host, path)
