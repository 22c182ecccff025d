"""Whether a path is within a folder: yes and no where every server agrees, else unsure."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.policy.paths import MAX_PATH, Folders, parse_folder
from mitmgate.policy.truth import Truth

YES, NO, UNSURE = Truth.YES, Truth.NO, Truth.UNSURE

# sentence: the path, within /workspace, within C:\Work
PATHS: dict[str, tuple[str, Truth, Truth]] = {
    "the folder": ("/workspace", YES, NO),
    "a file in it": ("/workspace/a.txt", YES, NO),
    "a slash behind": ("/workspace/", YES, NO),
    "slashes in a row": ("/workspace//a", YES, NO),
    "slashes in front, for Windows a machine": ("//workspace/a", YES, UNSURE),
    "dots that stay": ("/workspace/./a/../b", YES, NO),
    "dots that come back": ("/x/../workspace/a", YES, NO),
    "dots that go out": ("/workspace/../etc/passwd", NO, NO),
    "dots that go out far": ("/workspace/../../../..", NO, NO),
    "dots above the root": ("/../workspace", YES, NO),
    "three dots are a name": ("/workspace/...", YES, NO),
    "a longer name": ("/workspaces/a", NO, NO),
    "the folder above": ("/", NO, NO),
    "the name elsewhere": ("/home/workspace", NO, NO),
    "another letter case, which some disks ignore": ("/Workspace/a", UNSURE, NO),
    "letters of full width, which some disks ignore": ("/ｗorkspace", UNSURE, NO),
    "an invisible letter, which some disks ignored": ("/work\u200cspace", UNSURE, NO),
    "an accent of its own in a name below": ("/workspace/e\u0301", YES, NO),
    "relative": ("a.txt", UNSURE, UNSURE),
    "relative, from here": ("./workspace/a", UNSURE, UNSURE),
    "relative, and up": ("../../etc/passwd", UNSURE, UNSURE),
    "nothing": ("", UNSURE, UNSURE),
    "the home folder": ("~/a", UNSURE, UNSURE),
    "the home folder of a user": ("~root/.ssh", UNSURE, UNSURE),
    "a tilde at the start of a name": ("/workspace/~/a", UNSURE, UNSURE),
    "a tilde at the end of a name": ("/workspace/a~", YES, NO),
    "a variable": ("/workspace/$HOME", UNSURE, UNSURE),
    "a variable in braces": ("/workspace/${HOME}", UNSURE, UNSURE),
    "a command": ("/workspace/$(pwd)", UNSURE, UNSURE),
    "a command in backticks": ("/workspace/`pwd`", UNSURE, UNSURE),
    "a variable of Windows": ("/workspace/%TEMP%/a", UNSURE, UNSURE),
    "braces that a shell expands": ("/workspace/{a,/../../etc}", UNSURE, UNSURE),
    "braces around a name": ("/workspace/{id}", YES, NO),
    "a dollar at the end": ("/workspace/a$", YES, NO),
    "a percent sign": ("/workspace/100%", YES, NO),
    "an escape that is part of a name": ("/workspace/a%20b", YES, NO),
    "escaped dots, which some undo": ("/workspace/%2e%2E/etc", UNSURE, UNSURE),
    "an escaped slash": ("/workspace/..%2fetc", UNSURE, UNSURE),
    "escapes that are escaped": ("/workspace/%252e", UNSURE, UNSURE),
    "a NUL": ("/workspace/a\0", UNSURE, UNSURE),
    "a line end": ("/workspace/a\n/etc/passwd", UNSURE, UNSURE),
    "a backslash that leads out for some": ("/workspace/a\\..\\..\\etc", UNSURE, NO),
    "a backslash that stays for all": ("/workspace/a\\b", YES, NO),
    "a backslash in front": ("\\workspace", UNSURE, UNSURE),
    "a blank in front, which some cut": (" /workspace", UNSURE, UNSURE),
    "a blank behind": ("/workspace/a ", YES, NO),
    "a link of the kernel": ("/proc/self/root/etc", UNSURE, NO),
    "an open file": ("/dev/fd/3", UNSURE, NO),
    "another device": ("/dev/null", NO, NO),
    "half a surrogate pair": ("/workspace/\ud800", YES, NO),
    "as long as a path can be": ("/workspace/".ljust(MAX_PATH, "a"), YES, NO),
    "longer": ("/workspace/".ljust(MAX_PATH + 1, "a"), UNSURE, UNSURE),
    "a file URL": ("file:///workspace/a", YES, NO),
    "a file URL in capitals, of this machine": ("FILE://localhost/workspace", YES, NO),
    "a file URL with one slash": ("file:/workspace", YES, NO),
    "a file URL with escapes": ("file:///%77orkspace/a%20b", YES, NO),
    "a file URL with escaped dots": ("file:///workspace/%2e%2e/etc", NO, NO),
    "a file URL with an escaped slash": ("file:///workspace%2fa", UNSURE, UNSURE),
    "a file URL with a broken escape": ("file:///workspace/%zz", UNSURE, UNSURE),
    "a file URL with half an escape": ("file:///workspace/%2", UNSURE, UNSURE),
    "a file URL with no UTF-8": ("file:///workspace/%ff", UNSURE, UNSURE),
    "a file URL with a NUL": ("file:///workspace/%00", UNSURE, UNSURE),
    "a file URL with escapes that are escaped": ("file:///workspace/%252e", UNSURE, UNSURE),
    "a file URL with a query": ("file:///workspace?x", UNSURE, UNSURE),
    "a file URL of another machine": ("file://host/workspace", UNSURE, UNSURE),
    "a relative file URL": ("file:workspace", UNSURE, UNSURE),
    "a file URL with a drive": ("file:///c:/work/a", NO, YES),
    "another URL": ("https://workspace/", UNSURE, UNSURE),
    "on Windows": ("C:\\Work\\a", NO, YES),
    "on Windows, with slashes": ("c:/work/a", NO, YES),
    "on Windows, with dots": ("C:\\x\\..\\WORK\\a", NO, YES),
    "on Windows, out by dots": ("C:\\Work\\..\\Windows", NO, NO),
    "on Windows, another drive": ("D:\\Work", NO, NO),
    "on Windows, a dot behind, which it cuts": ("C:\\Work.\\a", NO, YES),
    "on Windows, a name of dots alone": ("C:\\Work\\...\\a", UNSURE, UNSURE),
    "on Windows, a short name": ("C:\\WORK~1\\a", UNSURE, UNSURE),
    "on Windows, a letter with an accent": ("C:\\W\u00f6rk", NO, UNSURE),
    "on Windows, relative to the drive": ("C:work", UNSURE, UNSURE),
    "on Windows, a device": ("\\\\?\\C:\\Work", UNSURE, UNSURE),
    "on Windows, a device with slashes": ("//?/C:/Work", UNSURE, UNSURE),
    "on Windows, a machine": ("\\\\localhost\\c$\\work", UNSURE, UNSURE),
    "on Windows, the folder of the other system": ("C:\\workspace", UNSURE, NO),
    "on the drive that is in use": ("/work/a", NO, UNSURE),
}


@pytest.mark.parametrize(("path", "posix", "windows"), PATHS.values(), ids=PATHS)
def test_paths(path: str, posix: Truth, windows: Truth) -> None:
    assert Folders.of(["/workspace"]).hold(path) is posix
    assert Folders.of(["C:\\Work"]).hold(path) is windows


def test_one_of_several_folders_suffices() -> None:
    folders = Folders.of(["/a", "/b/c", "D:/e"])
    paths = ("/a/x", "/b/c", "d:\\E\\f", "/b", "/A", "/c")
    assert [folders.hold(path) for path in paths] == [YES, YES, YES, NO, UNSURE, NO]


def test_everything_absolute_is_below_the_root() -> None:
    root = Folders.of(["/"])
    assert [root.hold(path) for path in ("/", "/x/../..", "x", "C:/x")] == [
        YES, YES, UNSURE, UNSURE]  # fmt: skip


BAD_FOLDERS: dict[str, tuple[str, str]] = {
    "relative": ("workspace", "a plain absolute path, as in /workspace or C:/work"),
    "empty": ("", "a plain absolute path"),
    "home": ("~/work", "a plain absolute path"),
    "a variable": ("/home/$USER", "a plain absolute path"),
    "a URL": ("file:///workspace", "a plain absolute path"),
    "a drive alone": ("C:", "a plain absolute path"),
    "a NUL": ("/a\0", "a plain absolute path"),
    "wildcards": ("/home/*", "a folder has no wildcards"),
    "dots": ("/home/../etc", "a folder is written without .."),
    "dots on Windows": ("C:\\a\\..\\b", "a folder is written without .."),
    "backslashes on POSIX": ("/home\\x", "with / and without spaces at its ends"),
    "a blank behind": ("/home ", "with / and without spaces at its ends"),
}


@pytest.mark.parametrize(("text", "message"), BAD_FOLDERS.values(), ids=BAD_FOLDERS)
def test_bad_folders(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_folder(text)


_NAMES = st.text(string.ascii_letters + string.digits + "-_ äß漢", min_size=1).map(
    lambda name: f"x{name}x"
)
_PARTS = st.lists(_NAMES | st.sampled_from([".", ""]))


@given(st.lists(_NAMES), _PARTS)
def test_whatever_is_joined_to_a_folder_is_within(base: list[str], below: list[str]) -> None:
    folder = "/" + "/".join(base)
    assert Folders.of([folder]).hold("/".join([folder, *below])) is YES
    windows = "C:\\" + "\\".join(base)
    assert Folders.of([windows]).hold("\\".join([windows.upper(), *below])) is not NO
    assert Folders.of([windows]).hold("/".join([windows, *below])) is YES


@given(st.lists(_NAMES, min_size=1), _PARTS)
def test_as_many_dots_as_names_lead_out(base: list[str], below: list[str]) -> None:
    folder = "/" + "/".join(base)
    names = [name for name in below if name not in (".", "")]
    path = "/".join([folder, *below, *[".."] * (len(names) + 1)])
    assert Folders.of([folder]).hold(path) is NO


@given(st.text("/\\.~%$ aC:{,}\0\n2eEfF?", max_size=30) | st.text())
def test_every_text_has_an_answer(text: str) -> None:
    folders = Folders.of(["/a", "C:\\a"])
    assert folders.hold(text) in Truth
    # Whoever puts a folder before it and takes the dots away has nothing that leads out.
    assert folders.hold("/a/" + text.replace(".", "")) is not NO
