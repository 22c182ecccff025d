"""Names whose values are secret by their place, and where such values stand in a text.

WIRE.md sections 3 and 4: session ids, cursors, tokens, form fields of OAuth. No rule can
recognise these values, so they are found by the name before them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import unquote, unquote_plus

import re2

from mitmgate.scan.validators.randomness import looks_random

type Span = tuple[int, int]

_EXACT = frozenset(
    {"token", "cursor", "nextcursor", "authorization", "cookie", "setcookie", "assertion", "jwt",
     "pwd", "auth", "secret", "sid", "bearer", "otp", "pin", "passcode", "sessionkey", "dpop",
     "lasteventid", "cookies", "secrets", "credential", "credentials", "creds", "passwords",
     "pass", "pw", "devicecode", "usercode"}
)  # fmt: skip
_ENDINGS = (
    "password", "passwd", "passphrase", "clientsecret", "secretkey", "apikey", "accesskey",
    "privatekey", "accesstoken", "refreshtoken", "idtoken", "sessiontoken", "authtoken",
    "securitytoken", "bearertoken", "registrationaccesstoken", "clientassertion", "subjecttoken",
    "actortoken", "codeverifier", "sessionid", "requeststate", "taskid", "subscriptionid",
    "tokensecret", "accountkey", "webhooksecret", "apitoken", "bottoken", "usertoken", "apptoken",
    "csrftoken", "xsrftoken", "pagetoken", "continuationtoken", "nexttoken", "logintoken",
    "authorization", "sessioncookie", "authcode", "authorizationcode", "sharedsecret", "appsecret",
    "hmacsecret", "sessid", "connectsid", "dbpass", "userpass", "mysqlpwd", "encryptionkey",
    "signingkey", "masterkey", "resettoken", "invitetoken", "registrationtoken", "pushtoken",
    "recoverycode", "verificationcode", "backupcodes", "apikeys", "oauthverifier",
)  # fmt: skip
# In queries and forms these carry keys; in JSON they are ordinary words.
_IN_PARAMETERS = frozenset(
    {"code", "state", "key", "sig", "signature", "nonce", "credential", "xamzcredential",
     "xamzsignature", "xgoogcredential", "xgoogsignature", "ticket"}
)  # fmt: skip
# Ordinary words too: their values are secret where they look like tokens.
_MAYBE = _IN_PARAMETERS | {"session", "sess", "verifier", "cred", "challenge"}
_LONGEST_NAME = 100
_SHORTEST_TOKEN, _TOKEN_BESIDE = 8, 16
_BEFORE_NAME = frozenset("?&;#/ \t\r\n\"'`<>({[,|")
_AFTER_VALUE = frozenset("&;# \t\r\n\"'`<>)}],|")


@lru_cache(maxsize=4096)
def is_sensitive(name: str, *, parameter: bool = False) -> bool:
    """Tell whether a value under *name* is secret; *parameter*: in a query or a form."""
    plain = "".join(char for char in name.rpartition("/")[2].casefold() if char.isalnum())
    if plain in _EXACT or plain.endswith(_ENDINGS):
        return True
    return parameter and plain in _IN_PARAMETERS


@lru_cache(maxsize=4096)
def is_credential_name(name: str) -> bool:
    """Tell whether *name*, the value of a member such as ``name``, is that of a credential."""
    if len(name) > _LONGEST_NAME:
        return False
    plain = "".join(char for char in name.casefold() if char.isalnum())
    return is_sensitive(name) or (plain.endswith("token") and plain != "progresstoken")


def has_token_look(value: str) -> bool:
    """Tell whether *value* may be a token: letters and digits in it, or drawn at random."""
    if len(value) < _SHORTEST_TOKEN:
        return False
    mixed = any(map(str.isdecimal, value)) and any(map(str.isalpha, value))
    return mixed or looks_random(value)


def looks_like_token(name: str, value: str) -> bool:
    """Tell whether *value* is a token by its looks, below a *name* that says it may be one."""
    return len(value) >= _SHORTEST_TOKEN and _may_be_token(name) and _is_token(value)


@lru_cache(maxsize=4096)
def _may_be_token(name: str) -> bool:
    return "".join(char for char in name.casefold() if char.isalnum()) in _MAYBE


def _is_token(value: str) -> bool:
    if looks_random(value):
        return True
    # No path and no file name: those have slashes and dots.
    plain = value.isascii() and value.translate(_TOKEN_MARKS).isalnum()
    return len(value) >= _TOKEN_BESIDE and plain and any(map(str.isdecimal, value))


_TOKEN_MARKS = {ord(char): None for char in "-_~+="}


def secret_values(text: str, *, form: bool = False) -> list[Span]:
    """Return where values stand in *text* that are secret by the name before them.

    Finds ``name=value`` (in queries and forms when *form*, and loosely in any text),
    ``"name": "value"`` even in damaged JSON, ``Name: value`` as in a head, what follows
    ``Bearer`` and the like (RFC 9110 section 11.4) and ``-u name:``, and the userinfo of URLs.
    """
    spans: list[Span] = []
    if "=" in text:
        spans += _assigned(text, form=form)
    if '"' in text and ":" in text:
        spans += _quoted(text)
        spans += _quoted_numbers(text)
    if len(text) > _SHORTEST_TOKEN and (" " in text or ":" in text):
        spans += _said(text)
    if "://" in text:
        spans += _userinfo(text)
    if "%" in text:
        spans += _escaped(text)
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
        elif _may_be_token(name):
            start, end = _value(text, position, form=form)
            if looks_like_token(name, text[start:end]):
                yield start, end


_SAID = re2.compile(
    r"([A-Za-z][A-Za-z0-9_\-]{2,60})[ \t]{0,2}:[ \t]*"
    r"|(?i:\b(?:bearer|dpop|basic|token|negotiate|ntlm)[ \t]+)([A-Za-z0-9\-._~+/=]{8,})"
    r"|(?:^|\s)(?:-u|--user|--proxy-user)[ =][\"']?[^\s:\"']{1,100}:([^\s\"']+)"
)
_WHOLE_LINE = frozenset({"cookie", "set-cookie", "authorization", "proxy-authorization"})


def _said(text: str) -> Iterator[Span]:
    data = text.encode("ascii", "replace")  # a byte for each code point
    for match in _SAID.finditer(data):
        start, end = match.span(1)
        if start >= 0:
            yield from _after_name(text, text[start:end], start, match.span()[1])
            continue
        start, end = match.span(2)
        if start < 0:
            yield match.span(3)
        elif any(not char.islower() for char in text[start + 1 : end].rstrip(".,")):
            yield start, end


_NUMBERED = re2.compile(r"^[0-9]{1,7}(?::[a-z0-9+]{2,40})?\]")


def _after_name(text: str, name: str, begin: int, end: int) -> Iterator[Span]:
    if begin and text[begin - 1] == "[":
        after = text[end : end + 50].encode("ascii", "replace")
        if _NUMBERED.search(after):
            return  # a placeholder of ours: [aws-access-key:1]
    if name.lower() in _WHOLE_LINE:
        quote = text[begin - 1] if begin and text[begin - 1] in "\"'`" else "\n"
        stop = text.find(quote, end)
        stop = len(text) if stop < 0 else stop
        yield end, min(stop, text.find("\n", end) if "\n" in text[end:stop] else stop)
        return
    start, stop = _value(text, end, form=False)
    if is_sensitive(name) or looks_like_token(name, text[start:stop]):
        yield start, stop


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
    secret, name = False, ""
    while (quote := text.find('"', position)) >= 0:
        if secret and text[position:quote].strip():
            secret, name = False, ""  # the value was a number, a list or an object
        end = _closing_quote(text, quote + 1)
        if secret or (name and looks_like_token(name, text[quote + 1 : end])):
            yield quote + 1, end
        after = _skip_space(text, end + 1)
        if text[after : after + 1] == ":":
            name = _unescaped(text[quote + 1 : end])
            secret = is_sensitive(name)
            position = after + 1
        else:
            secret, name = False, ""
            position = end + 1


# The quotes may be those of JSON in a string.
_NUMBERED_MEMBER = re2.compile(
    r'\\*"((?:[^"\\]|\\u[0-9a-fA-F]{4}){1,200})\\*"\s*:\s*'
    r"(-?[0-9][0-9.eE+\-]{2,}|\[[^\[\]{}\"]+)"
)
_NUMBER = re2.compile(r"-?[0-9][0-9.eE+\-]*")


def _quoted_numbers(text: str) -> Iterator[Span]:
    data = text.encode("ascii", "replace")
    for match in _NUMBERED_MEMBER.finditer(data):
        start, end = match.span(1)
        if is_sensitive(_unescaped(text[start:end])):
            begin, end = match.span(2)
            found = (one.span() for one in _NUMBER.finditer(data[begin:end]))
            yield from ((begin + start, begin + end) for start, end in found)


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


_ESCAPED = re2.compile(r"[^\s&?#/\"'<>]*%[0-9A-Fa-f]{2}[^\s&?#/\"'<>]*")


def _escaped(text: str) -> Iterator[Span]:
    for match in _ESCAPED.finditer(text.encode("ascii", "replace")):
        start, end = match.span()
        name, equals, value = text[start:end].partition("=")
        if equals and unquote(name).replace("_", "").replace("-", "").isalnum():
            start = end - len(value)
        plain = unquote(text[start:end])
        again = unquote(plain).replace("%", "")
        if secret_values(plain.replace("%", "")) or (again != plain and secret_values(again)):
            yield start, end


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
