"""What ordinary tools speak to: HTTP, git over it, indexes of Python's and Node's packages."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import os
import subprocess
import tarfile
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from harness import WEB_NAME, Web

REASONS = {100: "Continue", 200: "OK", 404: "Not Found", 500: "Internal Server Error"}


@dataclass(frozen=True)
class Asked:
    """A request as it arrived: names of headers in small letters, the body without its framing."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "") == "chunked"


@dataclass(frozen=True)
class Answer:
    """What is sent back; ``HEAD`` gets the length of the body and not the body."""

    body: bytes = b""
    media_type: str = "application/octet-stream"
    status: int = 200


@dataclass
class ToolServer(Web):
    """An HTTP/1.1 server that keeps every request, and answers with files."""

    asked: list[Asked] = field(default_factory=list)
    files: dict[str, Answer] = field(default_factory=dict)

    async def answered(self, asked: Asked) -> Answer:
        """Return the file at the path; what is sent in is thanked for."""
        if asked.method in {"PUT", "POST"}:
            return Answer(str(len(asked.body)).encode(), "text/plain")
        return self.files.get(asked.path, Answer(status=404))

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                asked = await _read(reader, writer)
                self.asked.append(asked)
                answer = await self.answered(asked)
                head = (f"HTTP/1.1 {answer.status} {REASONS[answer.status]}\r\n"
                        f"content-type: {answer.media_type}\r\n"
                        f"content-length: {len(answer.body)}\r\n\r\n")  # fmt: skip
                writer.write(head.encode() + (b"" if asked.method == "HEAD" else answer.body))
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    def url(self, path: str) -> str:
        return f"https://{WEB_NAME}:{self.port}{path}"


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Asked:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    method, target, _ = lines[0].split(" ")
    pairs = (line.partition(":") for line in lines[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    if "expect" in headers:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join([piece async for piece in _chunks(reader)])
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, target, headers, body)


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")


@dataclass
class GitServer(ToolServer):
    """``git http-backend`` as CGI; everybody may push. Set *root*, the folder of repositories."""

    root: Path = Path("/nonexistent")

    async def answered(self, asked: Asked) -> Answer:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "tester",
            "REQUEST_METHOD": asked.method,
            "PATH_INFO": asked.path,
            "QUERY_STRING": asked.target.partition("?")[2],
            "CONTENT_TYPE": asked.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(asked.body)),
            "HTTP_CONTENT_ENCODING": asked.headers.get("content-encoding", ""),
            "HTTP_GIT_PROTOCOL": asked.headers.get("git-protocol", ""),
        }
        done = await asyncio.to_thread(
            subprocess.run, ["git", "http-backend"], input=asked.body, env=environment,
            capture_output=True, check=False, timeout=30,
        )  # fmt: skip
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        status = int(fields.get("Status", "200 OK").split(" ")[0])
        return Answer(body, fields.get("Content-Type", "text/plain"), status)


@dataclass
class PythonIndex(ToolServer):
    """A simple repository (PEP 503); put wheels in with :meth:`add`."""

    WHEEL: ClassVar = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"

    def add(self, name: str, data: bytes) -> bytes:
        """Publish version 1.0 of *name*, which holds *data*; return the wheel."""
        file, info, made = f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.dist-info", io.BytesIO()
        with zipfile.ZipFile(made, "w") as wheel:
            wheel.writestr(f"{name}/__init__.py", "")
            wheel.writestr(f"{name}/data.bin", data)
            wheel.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
            )
            wheel.writestr(f"{info}/WHEEL", self.WHEEL)
            wheel.writestr(f"{info}/RECORD", "")
        digest = hashlib.sha256(made.getvalue()).hexdigest()
        page = f'<!DOCTYPE html><a href="/files/{file}#sha256={digest}">{file}</a>'
        self.files[f"/simple/{name}/"] = Answer(page.encode(), "text/html")
        self.files[f"/files/{file}"] = Answer(made.getvalue(), "application/zip")
        return made.getvalue()


@dataclass
class NodeRegistry(ToolServer):
    """A registry of Node's packages; put them in with :meth:`add`."""

    def add(self, name: str, data: bytes) -> None:
        """Publish version 1.0.0 of *name*, which holds *data* as ``data.bin``."""
        made, manifest = io.BytesIO(), {"name": name, "version": "1.0.0"}
        with tarfile.open(fileobj=made, mode="w:gz") as tarball:
            for file, text in (("package.json", json.dumps(manifest).encode()), ("data.bin", data)):
                entry = tarfile.TarInfo(f"package/{file}")
                entry.size = len(text)
                tarball.addfile(entry, io.BytesIO(text))
        path = f"/{name}/-/{name}-1.0.0.tgz"
        digest = base64.b64encode(hashlib.sha512(made.getvalue()).digest()).decode()
        dist = {"tarball": self.url(path), "integrity": f"sha512-{digest}"}
        packument = {"name": name, "dist-tags": {"latest": "1.0.0"},
                     "versions": {"1.0.0": {**manifest, "dist": dist}}}  # fmt: skip
        self.files[f"/{name}"] = Answer(json.dumps(packument).encode(), "application/json")
        self.files[path] = Answer(made.getvalue())
