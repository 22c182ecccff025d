"""What looks drawn, and what a person wrote."""

from __future__ import annotations

import random
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.scan.validators.randomness import looks_random

ALPHABETS = {
    "hex": "0123456789abcdef",
    "hex in capitals": "0123456789ABCDEF",
    "lower case": ascii_lowercase,
    "lower case and digits": ascii_lowercase + digits,
    "capitals and digits": ascii_uppercase + digits,
    "letters": ascii_letters,
    "base62": ascii_letters + digits,
    "base64": ascii_letters + digits + "-_",
}
WRITTEN = (
    "authenticationMiddleware",
    "get_token_from_environment",
    "AWS_SECRET_ACCESS_KEY",
    "ServiceAccountCredentials",
    "continuous-integration",
    "org.springframework.security.oauth2",
    "application/x-www-form-urlencoded",
    "2024-05-17T10:31:09Z",
    "gpt-4o-mini-2024-07-18",
    "us-east-1",
    "claude-3-5-sonnet-20241022",
    "node_modules/react-dom",
    "/usr/local/share/ca-certificates",
    "zorble-service-account.json",
    "login.zorble.example.com",
    "d3f7a91c2b.cloudfront.net",
    "bundle.4f9a1c7e.js",
    "12345678901234567890",
    "00000000-0000-0000-0000-000000000000",
    "4b1f60c2-93da-4e07-b5c8-71e02f9a6d34",
    "xxxxxxxxxxxxxxxxxxxxxxxx",
    "your-api-key-1a2b3c4d5e",
    "EXAMPLEKEY7Q2ZK9",
    "aaaaaaaaaaaaaaaaaaaaaaaa",
    "abababababababab",
    "short1",
    "getUserByIdAndTenant",
    "HTTP_AUTHORIZATION",
    "TokenInterceptorFactory",
    "this is a sentence",
    "Donaudampfschifffahrtsgesellschaft",
    "",
)


@pytest.mark.parametrize("length", [16, 24, 32, 48])
@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_what_is_drawn_looks_random(alphabet: str, length: int) -> None:
    source = random.Random(f"{alphabet} {length}")  # noqa: S311
    drawn = ["".join(source.choices(ALPHABETS[alphabet], k=length)) for _ in range(400)]
    assert sum(map(looks_random, drawn)) >= 390


@pytest.mark.parametrize("value", WRITTEN)
def test_what_is_written_does_not(value: str) -> None:
    assert not looks_random(value)


def test_a_drawn_part_behind_words_is_enough() -> None:
    drawn = "".join(random.Random(3).choices("0123456789abcdef", k=32))  # noqa: S311
    assert looks_random(f"test_pub_{drawn}")


def test_hex_of_an_odd_size_is_a_digest_that_was_cut() -> None:
    drawn = "".join(random.Random(5).choices("0123456789abcdef", k=37))  # noqa: S311
    assert not looks_random(drawn)


@given(st.text())
def test_it_is_total(value: str) -> None:
    assert looks_random(value) in (True, False)
