"""The CA is made once, privately, and a bad one is refused with the next command to run."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from mitmgate.ca.authority import CERT_FILE, KEY_FILE, LIFETIME, ensure_ca
from mitmgate.errors import ConfigError

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ca"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_ca_is_private_and_named_after_host_and_day(folder: Path) -> None:
    authority = ensure_ca(folder, now=NOW)
    assert mode(folder) == 0o700
    assert mode(folder.parent) == 0o700
    assert mode(authority.key_path) == 0o600
    assert mode(authority.cert_path) == 0o644
    assert authority.subject.startswith("mitmgate CA on ")
    assert authority.subject.endswith("(2026-11-20)")
    assert authority.not_after == NOW + LIFETIME


def test_the_files_are_the_ones_that_mitmproxy_looks_for(folder: Path) -> None:
    authority = ensure_ca(folder, now=NOW)
    assert authority.key_path == folder / "mitmproxy-ca.pem"
    assert authority.cert_path == folder / "mitmproxy-ca-cert.pem"


def test_the_certificate_file_holds_no_key(folder: Path) -> None:
    ensure_ca(folder, now=NOW)
    assert b"PRIVATE" not in (folder / CERT_FILE).read_bytes()


def test_the_ca_signs_hosts_and_nothing_else(folder: Path) -> None:
    authority = ensure_ca(folder, now=NOW)
    cert = x509.load_pem_x509_certificate(authority.cert_path.read_bytes())
    constraints = cert.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = cert.extensions.get_extension_for_class(x509.KeyUsage)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (
        True,
        True,
        0,
    )
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (
        True,
        True,
        False,
    )
    public = cert.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public.curve.name == "secp256r1"


def test_a_long_host_name_still_fits_into_the_subject(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "h" * 200)
    subject = ensure_ca(folder, now=NOW).subject
    assert len(subject) == 64
    assert subject.endswith("h (2026-11-20)")


def test_the_second_time_gives_the_same_ca(folder: Path) -> None:
    first = ensure_ca(folder, now=NOW)
    assert ensure_ca(folder, now=NOW + timedelta(days=1)) == first


def test_many_first_runs_at_once_agree_on_one_ca(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        prints = {made.fingerprint for made in pool.map(lambda _: ensure_ca(folder), range(8))}
    assert len(prints) == 1


def test_a_crash_between_the_two_files_heals_itself(folder: Path) -> None:
    first = ensure_ca(folder, now=NOW)
    first.cert_path.unlink()
    assert ensure_ca(folder, now=NOW) == first
    assert first.cert_path.exists()


def test_a_failed_write_leaves_nothing_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        ensure_ca(folder, now=NOW)
    assert [path.name for path in folder.iterdir()] == [".lock"]


def other_key(folder: Path) -> None:
    stranger = ensure_ca(folder.parent / "other", now=NOW).key_path.read_text()
    ours = (folder / KEY_FILE).read_text()
    begin = "-----BEGIN CERTIFICATE"
    (folder / KEY_FILE).write_text(ours.partition(begin)[0] + begin + stranger.partition(begin)[2])


BAD: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a folder that others can enter": (
        lambda folder: folder.chmod(0o755), "open to other users (mode 755)", "chmod 700",
    ),
    "a key that the group can read": (
        lambda folder: (folder / KEY_FILE).chmod(0o640),
        "open to other users (mode 640)", "chmod 600",
    ),
    "an empty key file": (
        lambda folder: (folder / KEY_FILE).write_bytes(b""), "damaged", "mv ",
    ),
    "a key file cut in half": (
        lambda folder: (folder / KEY_FILE).write_bytes((folder / KEY_FILE).read_bytes()[:400]),
        "damaged", "mv ",
    ),
    "a certificate without its key": (
        lambda folder: (folder / KEY_FILE).write_bytes((folder / CERT_FILE).read_bytes()),
        "damaged", "mv ",
    ),
    "a key and a certificate of two CAs": (other_key, "do not belong together", "mv "),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "message", "hint"), BAD.values(), ids=BAD)
def test_it_refuses(folder: Path, spoil: Callable[[Path], object], message: str, hint: str) -> None:
    ensure_ca(folder, now=NOW)
    spoil(folder)
    with pytest.raises(ConfigError) as caught:
        ensure_ca(folder, now=NOW)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert hint in (problem.hint or "")
    assert str(folder) in (problem.file or "")
    assert "PRIVATE KEY" not in str(problem)


def test_it_refuses_an_expired_ca_and_says_how_to_get_a_new_one(folder: Path) -> None:
    ensure_ca(folder, now=NOW)
    with pytest.raises(ConfigError, match="expired on 2028-11-19") as caught:
        ensure_ca(folder, now=NOW + LIFETIME)
    hint = caught.value.problems[0].hint or ""
    assert os.system(hint.partition("run: ")[2].partition(";")[0]) == 0  # noqa: S605
    assert ensure_ca(folder, now=NOW + LIFETIME).not_after > NOW + LIFETIME


def test_it_refuses_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        ensure_ca(tmp_path / "ca", now=NOW)


def test_it_refuses_a_folder_where_the_certificate_should_be(folder: Path) -> None:
    ensure_ca(folder, now=NOW).cert_path.unlink()
    (folder / CERT_FILE).mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        ensure_ca(folder, now=NOW)


def test_it_refuses_a_folder_of_another_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_ca(folder, now=NOW)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ConfigError, match="belongs to another user"):
        ensure_ca(folder, now=NOW)
