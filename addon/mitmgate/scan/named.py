"""Values that have no format of their own: what stands behind a name that says what they are.

People and programs write such a name and its value in few shapes, whatever the language: an
assignment, an entry of JSON, YAML, INI or XML, an argument of a call or of a command, a header,
a part of a query, a fallback behind an environment variable. This is the one place that knows
them; a rule gives names and the look of the value.
"""

from __future__ import annotations

from collections.abc import Iterable

import re2

_KINDS = "key|token|secret|passw|pwd|auth|cred|access|private"
"""Words that say of a name that its value is secret."""
_FIRST = "api|access|secret|private|auth|client|encryption|signing|service|account|master|token"
"""Words that make a secret of a key that stands behind them."""
_GENERAL = frozenset(("key", "token", "secret"))
_SAYS_SECRET = (
    "key", "token", "secret", "pass", "pwd", "auth", "cred", "access", "private", "jwt", "bearer",
)  # fmt: skip

# Longest first: RE2 takes the first alternative that leads to a match.
_NOT_KEYS = (
    "cache|primary|foreign|public|pub|partition|sort|range|hash|object|obj|dict|map|row|column|"
    "index|idx|lookup|group|idempotency|dedup|dedupe|deduplication|i18n|lang|locale|translation|"
    "message|msg|event|hot|short|arrow|issue|project|site|publishable|ssh|host|gpg|pgp|query|"
    "react|node|tree|routing|metric|tag|label|blob|file|config|setting|feature|flag|field|attr|"
    "prop|property|record|item|entity|document|doc|asset|image|media|artifact|build|job|task|"
    "trace|span|commit|checksum|content|bucket|path|page|json|xml|yaml|option|param|component|"
    "module|chunk|package|version|layout|style|theme|menu|route|state|store|slice|snapshot|"
    "unique|natural|composite|surrogate|business|correlation|request|registry|reg|kms|sprite|"
    "order|invoice|filter|enum|type|class|data|translated|mapping|stat|"
    "websocket|known|verification|verify|checkout|template|dataset|model|segment|shard|"
    "child|parent|root|base|common|shared[_.-]?pub"
)
_NOT_TOKENS = (
    "next|page|paging|pagination|continuation|cursor|sync|resume|resumption|prev|previous|start|"
    "marker|csrf|xsrf|csrfmiddleware|idempotency|client[_.-]?request|pad|eos|bos|unk|mask|cls|sep|"
    "special|stop|start|end|prompt|completion|cached|max|min|input|output|total|num|n|design|"
    "erc20|nft|verification|xsrf|change|scroll|snapshot|scan|delta|watch|list|revision|version"
)
_NOT_AFTER = (
    "ids?|names?|ur[il]s?|endpoints?|path|file|filename|dir|type|kind|arn|ref|hash|digest|sha\\d*|"
    "md5|checksum|fingerprint|thumbprint|count|counts|len|length|size|limit|usage|version|"
    "algorithm|alg|issuer|audience|scopes?|expir\\w*|expires?\\w*|ttl|created\\w*|updated\\w*|"
    "format|prefix|suffix|pattern|regex|field|header|param|label|hint|help|placeholder|title|"
    "description|desc|status|state|code|source|manager|provider|store|rotation\\w*|index|idx|"
    "list|map|set|vault|schema|class|event|address|addr|mint|symbol|ring|space|contract|cache|"
    "word|words|board|frame|frames|point|points|note|down|up|press|stroke|pair|pairs|izer|ized|"
    "ize|ization|izers"
)


def _capital(words: str) -> str:
    return "|".join(word[:1].upper() + word[1:] for word in words.split("|"))


_BAIT = (
    "(?:^|[^\\w.-])(?i:keys?)|"
    f"(?:\\b|_)(?i:(?:{_NOT_KEYS})[_.-]?keys?)[A-Za-z_.-]*[0-9]*|"
    f"(?:\\b|_)(?i:(?:{_NOT_TOKENS})[_.-]?tokens?)|"
    f"[a-z0-9](?:(?:{_capital(_NOT_KEYS)})Keys?[A-Za-z_.-]*[0-9]*|(?:{_capital(_NOT_TOKENS)})Tokens?)|"
    "(?i:authors?|authority|authorization|accessib\\w*|accession\\w*|accessor\\w*|"
    "secretar\\w*|passenger\\w*|passport\\w*|passage\\w*|credits?)"
)
_TAIL_BAIT = (
    f"(?:[A-Za-z_.-]*[0-9]*(?:[_.-](?i:{_NOT_AFTER})|(?:{_capital(_NOT_AFTER)}))|"
    f"(?i:s?(?:{_NOT_AFTER})))"
)
"""Names with such a word that hold no secret: keys of maps and tables, page tokens, key ids."""

_NAMES_OF = "ids?|hash|digest|checksum|fingerprint|thumbprint|etag|version|arn|ref|name|alias"
_PROVIDERS_BAIT = (
    "[\\w.-]{0,24}?(?:"
    f"(?i:[_.-](?:{_NOT_KEYS}|{_NOT_TOKENS})[_.-]?(?:key|token)s?|[_.-](?:author|authority|accessor)s?)|"
    f"(?:{_capital(_NOT_KEYS)}|{_capital(_NOT_TOKENS)})(?:Key|Token)s?|Author(?:ity)?|"
    "(?i:key|token|secret|auth|access|private|cred[a-z]{0,9})[A-Za-z_.-]{0,16}?"
    f"(?:[_.-](?i:{_NAMES_OF})|(?:{_capital(_NAMES_OF)})))"
)
"""Names that begin with a provider's and hold no secret: its cache keys, its key ids."""

REFUSED = "(?:[=:>,({|?]|<-)[\"'`\\\\\\s]{0,8}[\\w$]$"
"""What a match without a value ends in; no value of a credential does."""

_TAIL = "[A-Za-z_.-]{0,24}[0-9]{0,4}"
_CLOSE = "[\"'`\\\\)\\]\\[]{0,5}"
_TYPE = (
    "(?:[ \\t]{0,2}:?[ \\t]{0,2}(?:const |std::)?(?:[sS]tring|STRING|str|&str|char|text)"
    "\\b[\\]\\[?*]{0,3})?"
)
_ATTRIBUTE = "[\\s,]{1,12}[\"'`\\\\]{0,3}(?i:value|val|default|content)[\"'`\\\\]{0,3}\\s{0,4}[=:]"
_SIGN = "\\s{0,8}(?:[?.+|!:<&-]{0,3}[=:]{1,3}[>-]?|[-=]>|<-|[,({>]|\\|\\||\\?\\?)"
_ASSIGN = f"{_CLOSE}{_TYPE}(?:{_ATTRIBUTE}|{_SIGN})\\s{{0,12}}"
_OPEN = "(?:[bBrRuUfFL@$]?[\"'`\\\\]{1,8}|\\||>-?\\s{1,12})?"
_SCHEME = "(?i:(?:bearer|basic|token|apikey|bot)[ :+=])?"
_END = "(?:[\"'`\\\\\\s;,<>(){}\\]&|#?%*]|\\.(?:\\s|$)|$)"


def named_value(names: Iterable[str], value: str) -> str:
    """Return the pattern of a *value* (a pattern itself) assigned to one of *names*.

    A name that does not say by itself that its value is secret (a provider's) needs a word that
    does (key, token, secret ...) between itself and the value. Where such a bare word is a name,
    the pattern also matches names that hold no secret after all (``cache_key``), with their value
    and without the group ``secret``: a rule with such names refuses that match.
    """
    said: list[str] = []
    bare: list[str] = []
    for name in names:
        word = name.strip(" =:>\"'")
        says = any(kind in word.lower() for kind in _SAYS_SECRET)
        (said if says else bare).append(re2.escape(word))
    found = f"(?P<secret>{value}){_END}"
    if _GENERAL.intersection(said):
        # What stands first in a text wins, and at one place the first alternative.
        words = f"(?i:{'|'.join(_shortest(said))})"
        name = f"(?:(?i:{_FIRST})[ \\t]{{1,8}})?{words}"
        bait = f"(?:{_BAIT}|{words}{_TAIL_BAIT}){_ASSIGN}{_OPEN}[\\w$]"
        return f"{bait}|{name}[A-Za-z_.-]*[0-9]*{_ASSIGN}{_OPEN}{_SCHEME}{found}"
    # A provider's value has a shape, so that less is asked of what stands before it.
    gap = f"(?i:{'|'.join(bare)})[\\t\\n -~]{{0,30}}?(?i:{_KINDS}){_TAIL}"
    plain = said
    said = [f"(?i:{'|'.join(said)}){_TAIL}"] if said else []
    either = "|".join([*([gap] if bare else []), *said])
    words = "|".join(word.rstrip("_.-\\ ") for word in (*bare, *plain))
    bait = f"(?i:{words}){_PROVIDERS_BAIT}{_ASSIGN}{_OPEN}[\\w$]"
    return f"{bait}|(?:{either})(?:{_ASSIGN}{_OPEN}{_SCHEME}|[ \\t\"'.-]{{1,4}}){found}"


def _shortest(words: list[str]) -> list[str]:
    """Return those of *words* that hold no other of them."""
    return [word for word in words if not any(o != word and o in word for o in words)]
