"""Texts in other letters or in another order: rot13, leetspeak, reversed."""

from __future__ import annotations

import codecs
import string
from collections.abc import Iterable, Iterator
from itertools import product

from mitmgate.scan.views.page import Page, pattern
from mitmgate.scan.views.view import View

_WORDS = (
    "ignore", "disregard", "forget", "override", "bypass", "previous", "prior", "earlier", "above",
    "instruction", "instructions", "prompt", "system", "secret", "password", "credential", "token",
    "reveal", "send", "email", "delete", "execute", "command", "output", "print", "hidden",
    "developer", "restrictions", "guidelines", "rules", "safety", "filter", "unrestricted",
    "pretend", "assistant", "user", "tell", "without", "must", "file", "files", "read", "always",
    "never", "jailbreak", "mode", "message", "following", "please", "repeat", "answer", "respond",
    "access", "admin", "private", "transfer", "account", "your", "from", "with", "this", "that",
    "the", "and", "you", "all", "are", "now", "for", "have", "will", "what", "not", "any", "stop",
    "write", "show", "important", "directions", "context", "confidential", "forward", "upload",
)  # fmt: skip
_LONG_WORDS = tuple(word for word in _WORDS if len(word) > 4)
_NAMES = (
    "https://", "http://", "password", "passwd", "secret", "token", "apikey", "api_key", "api-key",
    "access_key", "accesskey", "credential", "private", "bearer", "authoriz", "webhook", "client_",
    "account", "connect", "database", "postgres", "mongodb", "mysql:", "amqp:", "redis:", "slack",
    "github", "gitlab", "azure", "amazon", "google", "openai", "anthropic", "stripe", "twilio",
    "sk-ant", "sk-proj", "sk_live", "sk_test", "rk_live", "ghp_", "gho_", "ghs_", "ghu_", "ghr_",
    "github_pat", "glpat-", "xoxb-", "xoxp-", "xoxa-", "xapp-", "akia", "asia", "aiza", "ya29.",
    "npm_", "pypi-", "dop_v1_", "shpat_", "eyjhbgci", "hf_", "sg.", "begin rsa", "begin openssh",
    "-----begin", "pk_live", "sq0", "key-", "dckr_pat", "lin_api", "ntn_", "glsa_", "sntrys_",
    "vault", "hvs.", "atlassian", "figd_", "r8_", "pat_", "tskey-", "_key", "_token", "nvapi-",
    "gsk_", "xai-", "export ", "const ", "return ", "import ",
)  # fmt: skip


def _rot13(text: str) -> str:
    return codecs.encode(text, "rot13")


_ATBASH_TABLE = str.maketrans(
    string.ascii_letters, string.ascii_lowercase[::-1] + string.ascii_uppercase[::-1]
)
_ROT47_TABLE = {code: 33 + (code - 33 + 47) % 94 for code in range(33, 127)}
_ROT13_TABLE = str.maketrans(string.ascii_letters, _rot13(string.ascii_letters))


def _quoted(word: str) -> str:
    return "".join([f"\\{sign}" if sign in ".$^*+?()[]{}|\\-/" else sign for sign in word])


def _any(words: Iterable[str]) -> str:
    return "|".join(sorted({_quoted(word) for word in words}))


_PROVIDERS = (
    "adobe", "airtable", "alibaba", "anthropic", "asana", "atlassian", "azure", "bitbucket",
    "clickhouse", "cloudflare", "cloudant", "codecov", "cohere", "confluent", "contentful",
    "databricks", "datadog", "digitalocean", "discord", "docker", "dropbox", "dynatrace", "elastic",
    "facebook", "fastly", "figma", "firebase", "github", "gitlab", "google", "grafana", "heroku",
    "hubspot", "huggingface", "intercom", "launchdarkly", "linkedin", "mailchimp", "mailgun",
    "mapbox", "mistral", "netlify", "newrelic", "notion", "npmjs", "okta_", "openai", "pagerduty",
    "paypal", "perplexity", "planetscale", "postman", "pulumi", "rapidapi", "replicate", "segment",
    "sendgrid", "sentry", "shopify", "slack", "snyk_", "sonar", "sourcegraph", "splunk", "square",
    "stripe", "supabase", "telegram", "terraform", "twilio", "twitter", "vercel", "webhook",
    "yandex", "zendesk", "zoom_", "amazon",
)  # fmt: skip
_CODE = (
    "client", "server", "config", "name", "value", "type", "user", "username", "host", "cluster",
    "project", "account", "string", "public", "static", "const", "export", "import", "return",
    "else", "null", "true", "false", "secret", "token", "__name__", "__main__", "header", "headers",
    "login", "curl", "database", "connection",
)  # fmt: skip
_RARE = ("akia", "asia", "aiza", "sg.", "hf_", "sq0", "r8_", "pat_", "hvs.", "key-")
_PLAIN_NAMES = (*[name for name in _NAMES if name not in _RARE], *_PROVIDERS)
_SHORT = ("the", "and", "you", "your", "with", "this", "that", "from", "have", "will", "what")
_BARE_WORDS = (*_LONG_WORDS, *_CODE)

ROT13 = (
    rf"(?i:\b(?:{_any(map(_rot13, _SHORT))}|{_any(map(_rot13, _BARE_WORDS))})\b"
    rf"|{_any(map(_rot13, _PLAIN_NAMES))})|\bNXVN|\bNVmn|\bfx-|\buggc"
)
# Some words are others when they are read from the end.
_PALINDROMES = frozenset({"redaeh"})
_BACKWARD = tuple(word[::-1] for word in _BARE_WORDS if word[::-1] not in _PALINDROMES)
_SHORT_BACKWARD = tuple(word[::-1] for word in _SHORT if word not in {"will", "from"})
REVERSED = (
    rf"(?i:\b(?:{_any(_SHORT_BACKWARD)}|{_any(_BACKWARD)})\b"
    rf"|{_any(name[::-1] for name in _PLAIN_NAMES)})|AIKA\b|azIA\b|-ks\b|ahpla:"
)
# A token with a short name before it: nobody knows which.
TURNED_TOKEN = r"(?:^|[\"'= ])[A-Za-z]{2,6}[_\-][A-Za-z0-9]{0,6}[0-9][A-Za-z0-9_\-]{15}"
REVERSED_TOKEN = (
    r"(?:^|[\"'= ])[A-Za-z0-9_\-]{15}[A-Za-z0-9_\-]*[0-9][A-Za-z0-9]{0,6}[_\-][A-Za-z]{2,6}"
    r"(?:$|[\"'\s;])"
)
_ATBASH_WORDS = ("the", "and", "you", "your", "with", "this", "that", *_LONG_WORDS)
ATBASH = rf"(?i:\b(?:{_any(word.translate(_ATBASH_TABLE) for word in _ATBASH_WORDS)})\b)"
ROT47 = r"\bE96 |2?5 J@F|:8?@C6|:?DECF4E|AC6G:@FD|DJDE6\>|A2DDH@C5|E@\<6\?"
UNORDERED = (
    r"(?i:\b(?:instructions|prompts?|rules|directions|guidelines)\s+"
    r"(?:previous|prior|above|earlier|system|your|my)\s+"
    r"(?:all|the|your|any|these|and|ignore|disregard|forget|reveal|of)\b)"
)

_LEET = {
    "a": "4@", "b": "8", "c": "(", "e": "3", "g": "69", "h": "#", "i": "1!|", "l": "1|", "o": "0",
    "s": "5$", "t": "7+", "z": "2",
}  # fmt: skip


def _leet(word: str) -> str:
    """Return a pattern of the spellings of *word* with one sign at least for a letter."""
    if len(word) < _SHORT_WORD:
        return _any(_spelled(word))
    either = [f"[{letter}{_quoted(_LEET.get(letter, ''))}]" for letter in word]
    forms = [
        word[:at] + f"[{_quoted(_LEET[letter])}]" + "".join(either[at + 1 :])
        for at, letter in enumerate(word)
        if letter in _LEET
    ]
    return "|".join(forms)


def _spelled(word: str) -> Iterator[str]:
    """Yield the spellings of *word* that are neither itself nor a number."""
    for signs in product(*[letter + _LEET.get(letter, "") for letter in word]):
        spelling = "".join(signs)
        if spelling != word and any(map(str.isalpha, signs)):
            yield spelling


_SHORT_WORD = 4
_SPELLINGS = "|".join(_leet(word) for word in _WORDS if len(word) > 2)
LEET = rf"(?i:(?:^|[\s\"'(\[<>:,.!])(?:{_SPELLINGS})(?:$|[\s\"',.:;!?)\]<>]))"

_TRIGGERS = {
    "rot13": pattern(ROT13),
    "reversed": pattern(REVERSED),
    "atbash": pattern(ATBASH),
    "rot47": pattern(ROT47),
    "unordered": pattern(UNORDERED),
    "leet": pattern(LEET),
    "turned-token": pattern(TURNED_TOKEN),
    "reversed-token": pattern(REVERSED_TOKEN),
}
_LEET_TABLES = tuple(
    str.maketrans("0345789@$!|+(6€£#", f"oeastbgas{one}{one}tcgelh") | {ord("1"): one}
    for one in "il"
)


def rot13(page: Page) -> Iterator[View]:
    """Yield texts that were turned by 13 letters."""
    return _swapped(page, "rot13", _ROT13_TABLE)


def turned_tokens(page: Page) -> Iterator[View]:
    """Yield tokens that may have been turned by 13 letters."""
    for window in page.windows(_TRIGGERS["turned-token"], chunk=128, pad=64):
        yield from window.swapped("rot13", window.text.translate(_ROT13_TABLE))


def reversed_tokens(page: Page) -> Iterator[View]:
    """Yield tokens that may have been reversed."""
    for window in page.windows(_TRIGGERS["reversed-token"], chunk=128, pad=64):
        yield window.turned("reversed")


def atbash(page: Page) -> Iterator[View]:
    """Yield texts whose alphabet was turned around."""
    return _swapped(page, "atbash", _ATBASH_TABLE)


def rot47(page: Page) -> Iterator[View]:
    """Yield texts whose printable ASCII was turned by 47 places."""
    return _swapped(page, "rot47", _ROT47_TABLE)


def leet(page: Page) -> Iterator[View]:
    """Yield texts with digits and signs for letters."""
    for window in page.gathered(_TRIGGERS["leet"], chunk=256, pad=192):
        for table in _LEET_TABLES if "1" in window.text else _LEET_TABLES[:1]:
            # The mark of an image is no letter.
            text = window.text.replace("![", "\0[").translate(table).replace("\0[", "![")
            yield from window.swapped("leet", text)


def backward(page: Page) -> Iterator[View]:
    """Yield texts read from their end, and word by word."""
    for window in page.windows(_TRIGGERS["reversed"], pad=512):
        yield window.turned("reversed")
        yield from window.swapped("reversed-words", _each_word(window.text))


def _each_word(text: str) -> str:
    return "\n".join(
        [" ".join([word[::-1] for word in line.split(" ")]) for line in text.split("\n")]
    )


def unordered(page: Page) -> Iterator[View]:
    """Yield sentences whose words stand from the last to the first."""
    for window in page.windows(_TRIGGERS["unordered"]):
        text = " ".join(window.text.split()[::-1])
        size = len(window.raw)
        yield window.whole("word-order", text, (0, size))


def _swapped(page: Page, name: str, table: dict[int, int]) -> Iterator[View]:
    for window in page.windows(_TRIGGERS[name], pad=512):
        yield from window.swapped(name, window.text.translate(table))
