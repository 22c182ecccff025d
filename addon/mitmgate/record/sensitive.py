"""Names whose values are secret by their place, and where such values stand in a text.

WIRE.md sections 3 and 4: session ids, cursors, tokens, form fields of OAuth. No rule can
recognise these values, so they are found by the name before them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import unquote_plus

type Span = tuple[int, int]

_EXACT = frozenset(
    {"token", "cursor", "nextcursor", "authorization", "cookie", "setcookie", "assertion", "jwt",
     "pwd", "auth", "secret", "sid"}
)  # fmt: skip
_ENDINGS = (
    "password", "passwd", "passphrase", "clientsecret", "secretkey", "apikey", "accesskey",
    "privatekey", "accesstoken", "refreshtoken", "idtoken", "sessiontoken", "authtoken",
    "securitytoken", "bearertoken", "registrationaccesstoken", "clientassertion", "subjecttoken",
    "actortoken", "codeverifier", "sessionid", "requeststate", "taskid", "subscriptionid",
    "tokensecret", "accountkey", "webhooksecret",
)  # fmt: skip
# In queries and forms these carry keys; in JSON they are ordinary words.
_IN_PARAMETERS = frozenset(
    {"code", "state", "key", "sig", "signature", "nonce", "credential", "xamzcredential",
     "xamzsignature", "xgoogcredential", "xgoogsignature", "ticket"}
)  # fmt: skip
_LONGEST_NAME = 100
_BEFORE_NAME = frozenset("?&;#/ \t\r\n\"'`<>({[,|")
_AFTER_VALUE = frozenset("&;# \t\r\n\"'`<>)}],|")


@lru_cache(maxsize=4096)
def is_sensitive(name: str, *, parameter: bool = False) -> bool:
    """Tell whether a value under *name* is secret; *parameter*: in a query or a form."""
    plain = "".join(char for char in name.rpartition("/")[2].casefold() if char.isalnum())
    if plain in _EXACT or plain.endswith(_ENDINGS):
        return True
    return parameter and plain in _IN_PARAMETERS


def secret_values(text: str, *, form: bool = False) -> list[Span]:
    """Return where values stand in *text* that are secret by the name before them.

    Finds ``name=value`` (in queries and forms when *form*, and loosely in any text),
    ``"name": "value"`` even in damaged JSON, and the userinfo of URLs.
    """
    spans: list[Span] = []
    if "=" in text:
        spans += _assigned(text, form=form)
    if '"' in text and ":" in text:
        spans += _quoted(text)
    if "://" in text:
        spans += _userinfo(text)
    return _merged(spans)


def form_values(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the decoded name and the place of each value of a query or form *text*."""
    position = 0
    for part in text.split("&"):
        name, equals, value = part.partition("=")
        if equals and value:
            start = position + len(name) + 1
            yield unquote_plus(name), start, start + len(value)
        position += len(part) + 1


def _assigned(text: str, *, form: bool) -> Iterator[Span]:
    position = 0
    while (equals := text.find("=", position)) >= 0:
        begin = equals
        floor = max(position, equals - _LONGEST_NAME)
        while begin > floor and text[begin - 1] not in _BEFORE_NAME:
            begin -= 1
        name = text[begin:equals]
        in_query = form or (begin > 0 and text[begin - 1] in "?&")
        position = equals + 1
        if is_sensitive(unquote_plus(name) if "%" in name else name, parameter=in_query):
            start, end = _value(text, position, form=form)
            if end > start:
                yield start, end
            position = max(position, end)


def _value(text: str, start: int, *, form: bool) -> Span:
    if not form and text[start : start + 1] in ('"', "'"):
        end = text.find(text[start], start + 1)
        return start + 1, len(text) if end < 0 else end
    end = start
    while end < len(text) and not (text[end] in "&#" if form else text[end] in _AFTER_VALUE):
        end += 1
    return start, end


def _quoted(text: str) -> Iterator[Span]:
    position = 0
    secret = False
    while (quote := text.find('"', position)) >= 0:
        if secret and text[position:quote].strip():
            secret = False  # the value was a number, a list or an object
        end = _closing_quote(text, quote + 1)
        if secret:
            yield quote + 1, end
        after = _skip_space(text, end + 1)
        if text[after : after + 1] == ":":
            secret = is_sensitive(_unescaped(text[quote + 1 : end]))
            position = after + 1
        else:
            secret = False
            position = end + 1


def _closing_quote(text: str, position: int) -> int:
    while (quote := text.find('"', position)) >= 0:
        slashes = quote
        while slashes > position and text[slashes - 1] == "\\":
            slashes -= 1
        if (quote - slashes) % 2 == 0:
            return quote
        position = quote + 1
    return len(text)


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _unescaped(name: str) -> str:
    if "\\" not in name or len(name) > _LONGEST_NAME * 6:
        return name[:_LONGEST_NAME]
    try:
        return str(json.loads(f'"{name}"'))
    except ValueError:
        return name


def _userinfo(text: str) -> Iterator[Span]:
    position = 0
    while (mark := text.find("://", position)) >= 0:
        start = end = mark + 3
        while end < len(text) and text[end] not in _AFTER_VALUE and text[end] not in "/?\\":
            end += 1
        at = text.rfind("@", start, end)
        if at > start:
            yield start, at
        position = end


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        elif end > start:
            merged.append((start, end))
    return merged
