"""The page's files, in memory, compressed once."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import web

PACKAGES = ("services.dashboard", "services.web")
"""Folders `assets` of these; a name in an earlier one hides that in a later one."""

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".LICENSE": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
PACKED = {".png", ".woff2"}
"""Kinds that are compressed already."""


class Asset:
    """One file. `etag`: of its content."""

    def __init__(self, name: str, data: bytes) -> None:
        suffix = name[name.rindex(".") :]
        self.type = TYPES[suffix]
        self.data = data
        self.packed = b"" if suffix in PACKED else gzip.compress(data, 9)
        self.etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'

    def response(self, request: web.Request, cache: str) -> web.Response:
        """The file, or 304 if the browser has it. `cache`: value of Cache-Control."""
        headers = {"Cache-Control": cache, "ETag": self.etag, "Vary": "Accept-Encoding"}
        if cache != "no-store" and request.headers.get("If-None-Match") == self.etag:
            return web.Response(status=304, headers=headers)
        body = self.data
        if self.packed and "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = self.packed
        return web.Response(body=body, headers={**headers, "Content-Type": self.type})


class Assets:
    """`/assets/NAME`, and the pages `index.html` and `login.html`."""

    def __init__(self) -> None:
        self._assets = {name: Asset(name, data) for name, data in _read()}

    async def handle(self, request: web.Request) -> web.Response:
        """A file by its name. The browser asks each time whether it has changed."""
        asset = self._assets.get(request.match_info["name"])
        if asset is None or asset.type.startswith("text/html"):
            raise web.HTTPNotFound
        return asset.response(request, "no-cache")

    def page(self, name: str, request: web.Request) -> web.Response:
        """A page. Raises `KeyError` if there is no such."""
        return self._assets[name].response(request, "no-store")


def _read() -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    for package in PACKAGES:
        for entry in _files(files(package).joinpath("assets")):
            name = entry.name
            if name not in seen and any(name.endswith(suffix) for suffix in TYPES):
                seen.add(name)
                yield name, entry.read_bytes()


def _files(folder: Traversable) -> Iterator[Traversable]:
    return (entry for entry in folder.iterdir() if entry.is_file())
