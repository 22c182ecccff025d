"""Secrets without a format: providers that no rule names, in every shape of assignment.

The values are drawn here, so that none stands in a file. The lines of ``ORDINARY`` are what such
rules are tempted by.
"""

from __future__ import annotations

import random
import re
from string import ascii_lowercase, ascii_uppercase, digits

import pytest
import re2

from mitmgate.scan.engine import Scanner
from mitmgate.scan.named import named_value
from mitmgate.scan.packs import installed_packs
from mitmgate.wire.surfaces import Surface

ALPHABETS = {
    "hex": ("0123456789abcdef", 32),
    "long hex": ("0123456789abcdef", 64),
    "lower": (ascii_lowercase + digits, 24),
    "base62": (ascii_lowercase + ascii_uppercase + digits, 40),
    "base64url": (ascii_lowercase + ascii_uppercase + digits + "-_", 43),
}
SHAPES = {
    "an environment file": "ZORBLE_API_KEY={}",
    "an exported variable": "export QUIBBIT_TOKEN='{}'",
    "a variable of Windows": "set FLUMEN_SECRET={}",
    "a variable of PowerShell": '$env:GRONKLE_API_KEY = "{}"',
    "JSON": '{{"zorbleApiKey": "{}"}}',
    "JSON in JSON": '{{"content": "{{\\"zorble_token\\": \\"{}\\"}}"}}',
    "JSON on several lines": '{{\n  "quibbit_client_secret":\n    "{}"\n}}',
    "YAML": "flumen:\n  api_key: {}",
    "YAML with quotes": "gronkle_token: '{}'",
    "a list of names and values": '{{"name": "ZORBLE_API_KEY", "value": "{}"}}',
    "the environment of a container": '- name: QUIBBIT_SECRET\n  value: "{}"',
    "TOML": 'flumen-api-key = "{}"',
    "INI": "[gronkle]\nauth_token = {}",
    "Java properties": "zorble.access.key={}",
    "a call of Java": 'System.setProperty("QUIBBIT_TOKEN", "{}")',
    "a setter": 'client.setApiKey("{}");',
    "Go": 'flumenToken := "{}"',
    "Go with a type": 'var gronkleSecret string = "{}"',
    "Rust": 'const ZORBLE_KEY: &str = "{}";',
    "Python": 'QUIBBIT_API_TOKEN = "{}"',
    "bytes of Python": "flumen_secret_key = b'{}'",
    "a fallback of Python": 'key = os.environ.get("GRONKLE_API_KEY", "{}")',
    "a fallback of JavaScript": "const t = process.env.ZORBLE_TOKEN || '{}';",
    "JavaScript": "const quibbitApiKey = `{}`;",
    "a fallback of a shell": 'echo "${{FLUMEN_API_KEY:-{}}}"',
    "Ruby": "config.gronkle_token = '{}'",
    "a hash of Ruby": ":zorble_secret => '{}'",
    "PHP": "define('QUIBBIT_API_KEY', '{}');",
    "Perl": '$flumenToken .= "{}"',
    "C sharp": 'string gronkleKey = "{}";',
    "make": "ZORBLE_TOKEN ?= {}",
    "an element of XML": "<quibbitToken>\n  {}\n</quibbitToken>",
    "an attribute of XML": '<add key="FlumenApiKey" value="{}" />',
    "a header": "X-Gronkle-Api-Key: {}",
    "a query": "https://api.zorble.example/v1/items?page=2&api_key={}&limit=5",
    "a flag": "quibbit sync --api-key={}",
    "two words": "Flumen API key: {}",
    "a secret in capitals": "gronkleSECRET={}",
    "a key of a provider": "zorble_key: {}",
    "a comparison": 'if (request.token == "{}") {{',
    "Terraform": 'quibbit_token = "{}"',
    "a Dockerfile": "ENV FLUMEN_AUTH_TOKEN={}",
    "a flag and a space": "quibbit sync --api-key {}",
    "arguments in a list": '"args": ["-y", "flumen-mcp", "--access-token", "{}"]',
    "a sentence": "The API key for Gronkle is {}.",
    "a client": 'zorble := NewClient("{}")',
    "a log": "Sending request to the Quibbit API\\n[DEBUG] Using Key={}",
    "a key in a query": "https://api.flumen.example/v1/items?page=2&key={}",
    "a command that keeps secrets": 'gh secret set GRONKLE --body "{}"',
    "a cookie": "Cookie: lang=en; sessionid={}; theme=dark",
}
ORDINARY = (
    'token = get_token_from_environment("ZORBLE")',
    "api_key = os.environ['ZORBLE_API_KEY']",
    'apiKey: process.env.ZORBLE_API_KEY || ""',
    "const token = await client.fetchAccessToken(userId);",
    "secret: ${{ secrets.ZORBLE_TOKEN }}",
    "ZORBLE_API_KEY=your-api-key-here",
    "ZORBLE_API_KEY=<your key>",
    "ZORBLE_TOKEN=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "ZORBLE_TOKEN=$(vault read -field=token secret/zorble)",
    "ZORBLE_TOKEN=${ZORBLE_TOKEN:-}",
    "zorble_token: {{ .Values.zorble.token }}",
    'token: "%ZORBLE_TOKEN%"',
    'private_key_path = "/etc/zorble/keys/private.pem"',
    'key_file: "zorble-service-account.json"',
    "secretName: zorble-tls-certificate",
    "secretKeyRef:\n  name: zorble-credentials\n  key: database-url",
    'access_key_id = "the id of the key"',
    "max_tokens: 4096, prompt_tokens: 1853, total_tokens: 5949",
    'tokenizer = AutoTokenizer.from_pretrained("mistralai/Mistral-7B-Instruct-v0.2")',
    'keyword = "continuous-integration"',
    'authors = ["zorble-maintainers"]',
    "keyboard: us-intl-with-dead-keys",
    'primary_key = "customer_identifier"',
    'partitionKey: "tenantIdentifier"',
    "token_type: bearer, expires_in: 3600",
    'token_url = "https://login.zorble.example/oauth2/token"',
    "auth_provider: openid-connect-discovery",
    'password = getpass.getpass("Password: ")',
    'password: "password"',
    'password = "changeme123"',
    'password: str = Field(min_length=12, description="at least 12")',
    '"password": {"type": "string", "minLength": 8}',
    "password_hash = bcrypt.hashpw(password.encode(), bcrypt.gensalt(12))",
    'passwordField.setText("")',
    "PASSWORD=$(openssl rand -base64 32)",
    'DB_PASSWORD: "${DB_PASSWORD}"',
    'input type="password" name="password" id="password-input-2"',
    'password_reset_url = "/accounts/password/reset/v2"',
    "The password must be at least 12 characters and hold 1 digit.",
    "Your password is stored as a SHA256 hash.",
    "The password is encrypted with AES256 before it is sent.",
    'errors.password = "Password1 and Password2 differ"',
    'login("user", "password")',
    "client.login(user, secret2)",
    "auth('basic', 'header')",
    'pwd = os.path.join(base, "v2")',
    "mot de passe : obligatoire",
    "contraseña: la misma de siempre",
    "import { TokenInterceptor } from './auth/token.interceptor';",
    "from zorble.auth.credentials import ServiceAccountCredentials2",
    "secrets = SecretsManager(region_name='eu-central-1')",
    "key: zorble.cache.items.byCategory.v2",
    '"access": "read-only-replica-2"',
    "access: public-read-write-v2",
    "private: com.zorble.internal.ServiceLoader2",
    '"auth": "AuthenticationMiddlewareV2"',
    'credentials: "same-origin"',
    "token=csrf_protection_middleware_v2",
)
MEASURED = {
    "a cache key": 'cache_key = "{}"',
    "a page token": '"nextPageToken": "{}"',
    "a continuation token": '"continuation_token": "{}"',
    "the id of a key": '"key_id": "{}"',
    "the id of a token": "tokenId: {}",
    "the hash of a token": 'token_hash = "{}"',
    "a public key": 'publicKey: "{}"',
    "a key of a store": '"object_key": "{}"',
    "an idempotency key": "Idempotency-Key: {}",
    "a digest": "sha256:{}",
    "an etag": 'ETag: "{}"',
    "a commit": "commit {}",
    "a checksum": "{}  zorble-1.2.tar.gz",
    "a session": '"session": "{}"',
    "a trace": '"traceId": "{}"',
    "a bare key": '"key": "{}"',
    "a fingerprint": "key_fingerprint = {}",
    "a build": '"build": "{}"',
    "an integrity": '"integrity": "sha512-{}"',
    "a secret's name": "secretName: {}",
    "a secret's version": "secret_version: {}",
    "a csrf token": '<input name="csrf_token" value="{}">',
    "a project key": "sonar.projectKey={}",
    "a sort key": "sortKey: {}",
    "the key of a handshake": "Sec-WebSocket-Key: {}",
    "a csrf cookie": "Cookie: csrftoken={}; theme=dark",
    "a hash in a query": "https://zorble.example/items?sha={}",
}
PASSWORD_SHAPES = (
    'ConvertTo-SecureString "{}" -AsPlainText -Force',
    'variable "db_password" {{\n  default = "{}"\n}}',
    "ENV ADMIN_PASSWORD {}",
    "schtasks /create /tn backup /ru ZORBLE\\svc /rp {}",
    "host=db port=5432 user=zorble password={} dbname=zorble",
    "zorble:{}@tcp(10.0.0.1:3306)/zorble",
    'echo "{}" | docker login --username zorble --password-stdin',
    "<server><username>ci</username><password>{}</password></server>",
    'requests.get(url, auth=("zorble", "{}"))',
    "mot de passe : {}",
)
UUID_SHAPES = (
    "zorble_token: {}",
    "QUIBBIT_API_KEY={}",
    '"flumenSecret": "{}"',
    "gronkleACCESS={}",
)


def drawn(kind: str, seed: object) -> str:
    letters, length = ALPHABETS[kind]
    source = random.Random(f"{kind} {seed}")  # noqa: S311
    return "".join(source.choice(letters) for _ in range(length))


def a_uuid(seed: object) -> str:
    value = drawn("hex", seed)
    return "-".join((value[:8], value[8:12], "4" + value[13:16], "a" + value[17:20], value[20:]))


@pytest.fixture(scope="module")
def scanner() -> Scanner:
    packs = (pack for pack in installed_packs() if pack.detector == "secrets")
    return Scanner(packs, hash_key=b"k")


def values(scanner: Scanner, text: str) -> list[str]:
    return [text[f.start : f.end] for f in scanner.scan_text(Surface.RESULTS, "", text)]


@pytest.mark.parametrize("kind", ALPHABETS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_secret_of_an_unknown_provider_is_found_in(
    scanner: Scanner, shape: str, kind: str
) -> None:
    secret = drawn(kind, shape)
    assert secret in values(scanner, SHAPES[shape].format(secret))


@pytest.mark.parametrize("shape", PASSWORD_SHAPES)
def test_a_password_is_found_where_people_leave_it(scanner: Scanner, shape: str) -> None:
    password = "Kl0ster!" + drawn("base62", shape)[:6] + "7"
    assert password in values(scanner, shape.format(password))


@pytest.mark.parametrize("shape", UUID_SHAPES)
def test_a_uuid_behind_a_strong_name_is_found(scanner: Scanner, shape: str) -> None:
    secret = a_uuid(shape)
    assert values(scanner, shape.format(secret)) == [secret]


@pytest.mark.parametrize("text", ORDINARY)
def test_an_ordinary_line_holds_no_secret(scanner: Scanner, text: str) -> None:
    assert values(scanner, text) == []


@pytest.mark.parametrize("kind", ["hex", "base62"])
@pytest.mark.parametrize("shape", MEASURED)
def test_what_is_random_and_no_secret_stays_silent(scanner: Scanner, shape: str, kind: str) -> None:
    assert values(scanner, MEASURED[shape].format(drawn(kind, shape))) == []


def test_a_uuid_made_from_the_time_is_no_secret(scanner: Scanner) -> None:
    assert values(scanner, "zorble_token: 2f1c7e40-9d5a-11ee-8c31-0b4d7a96e5f2") == []


def test_a_known_provider_is_named_and_the_general_rule_is_silent(scanner: Scanner) -> None:
    text = f"TODOIST_API_TOKEN={drawn('long hex', 1)[:40]}"
    found = [finding.rule for finding in scanner.scan_text(Surface.RESULTS, "", text)]
    assert found == ["secret.named-todoist"]


@pytest.mark.parametrize(
    "names", [["token", "secret", "key ="], ["zorble"], ["zorble", "zorble_key"]], ids=str
)
def test_the_pattern_of_a_name_is_the_same_for_every_engine(names: list[str]) -> None:
    text, sample = named_value(names, "[0-9a-f]{8}"), "zorble_key = '0a1b2c3d'"
    pattern = re2.compile(text)
    ours, theirs = pattern.search(sample.encode()), re.search(text, sample)
    assert ours is not None
    assert theirs is not None
    assert ours.span(pattern.groupindex["secret"]) == theirs.span("secret") == (14, 22)


def test_a_name_that_holds_no_secret_matches_without_a_value() -> None:
    pattern = re2.compile(named_value(["key", "token"], "[0-9a-f]{8}"))
    match = pattern.search(b"cache_key = 0a1b2c3d")
    assert match is not None
    assert match.span(pattern.groupindex["secret"]) == (-1, -1)
