"""Files of the page: compressed once, cached for a year where their address changes with their content."""

import asyncio
import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import brotli
from bokeh.embed.bundle import extension_dirs
from bokeh.settings import settings as bokeh_settings
from tornado.web import HTTPError, RequestHandler

ASSETS = Path(__file__).parent / "assets"
YEAR = "public, max-age=31536000, immutable"
HOUR = "public, max-age=3600"
_OWN_TYPES = frozenset({".js", ".css", ".svg", ".png", ".webmanifest"})
_COMPRESSIBLE = frozenset({".js", ".mjs", ".css", ".svg", ".json", ".map", ".webmanifest", ".html", ".txt"})
_BROTLI_QUALITY = 9  # 11 saves 8 % more and takes 14 s instead of 0.6 s for the scripts of Bokeh and Panel
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".webmanifest": "application/manifest+json"}
_MIN_BYTES = 600  # below it the head of the compressed form eats what it saves


@cache
def font_folder() -> Path:
    """Return the folder of fonts in panel-material-ui without importing the package."""
    spec = find_spec("panel_material_ui")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("panel-material-ui is not installed; the page takes its fonts from it.")
    return Path(spec.origin).parent / "dist"


@cache
def list_fonts() -> list[str]:
    """Return the names of the Roboto files that the page uses."""
    return sorted(path.name for path in font_folder().glob("roboto-latin-*.woff2"))


@cache
def own_files() -> Mapping[str, Path]:
    """Return scripts, styles, pictures and fonts of the page by the name in their address."""
    files = {path.name: path for path in sorted(ASSETS.iterdir()) if path.suffix in _OWN_TYPES}
    return files | {name: font_folder() / name for name in list_fonts()}


@cache
def assets_url() -> str:
    """Return the folder of the page's own files, relative to the page: its name has the hash of their content.

    One hash stands for all of them: modules import each other by plain names, and a browser never mixes editions.
    """
    digest = hashlib.sha256()
    for name, path in own_files().items():
        digest.update(name.encode() + path.read_bytes())
    return f"assets/{digest.hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class CompressedFile:
    """A file in the encodings that a browser may ask for."""

    media_type: str
    etag: str
    plain: bytes
    brotli: bytes | None
    gzip: bytes | None

    @classmethod
    def read(cls, path: Path) -> "CompressedFile":
        """Read and compress a file. Blocks: call it in a thread."""
        plain = path.read_bytes()
        media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if media_type.startswith("text/"):
            media_type += "; charset=utf-8"
        etag = hashlib.sha256(plain).hexdigest()[:32]
        if path.suffix not in _COMPRESSIBLE or len(plain) < _MIN_BYTES:
            return cls(media_type, etag, plain, None, None)
        return cls(
            media_type, etag, plain, brotli.compress(plain, quality=_BROTLI_QUALITY), gzip.compress(plain, mtime=0)
        )

    def encode(self, accepted: str) -> tuple[bytes, str | None]:
        """Return the body in the best accepted encoding, and its name."""
        encodings = {part.split(";")[0].strip() for part in accepted.split(",") if "q=0" not in part.replace(" ", "")}
        if self.brotli is not None and "br" in encodings:
            return self.brotli, "br"
        if self.gzip is not None and "gzip" in encodings:
            return self.gzip, "gzip"
        return self.plain, None


class FileCache:
    """Compressed files of a server, each read and compressed once."""

    def __init__(self) -> None:
        self._files: dict[Path, asyncio.Task[CompressedFile]] = {}

    async def get(self, path: Path) -> CompressedFile:
        """Return a file.

        Raises:
            OSError: it cannot be read.
        """
        task = self._files.get(path)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._files[path] = asyncio.create_task(asyncio.to_thread(CompressedFile.read, path))
        return await asyncio.shield(task)


class _FileHandler(RequestHandler):
    def initialize(self, files: FileCache) -> None:
        """Tornado's constructor."""
        self.files = files

    async def head(self, *names: str) -> None:
        """Answer like GET, without the body."""
        await self.get(*names)

    async def get(self, *names: str) -> None:
        """Answer with the file in an encoding that the browser takes."""
        path, lifetime = await asyncio.to_thread(self.locate, *names)
        if path is None:
            raise HTTPError(404)
        file = await self.files.get(path)
        body, encoding = file.encode(self.request.headers.get("Accept-Encoding", ""))
        self.set_header("Content-Type", file.media_type)
        self.set_header("Cache-Control", lifetime)
        self.set_header("X-Content-Type-Options", "nosniff")
        etag = f'"{file.etag}{"-" + encoding if encoding else ""}"'
        self.set_header("Etag", etag)
        if encoding:
            self.set_header("Content-Encoding", encoding)
        if self.check_etag_header():
            self.set_status(304)
            return
        self.write(body)

    def locate(self, *names: str) -> tuple[Path | None, str]:
        """Return the file of an address and how long a browser may keep it."""
        raise NotImplementedError

    def compute_etag(self) -> str | None:
        """Tornado's hook: the tag of the file is set already."""
        return None


class OwnFileHandler(_FileHandler):
    """`assets/<hash>/<name>`: a file of the page. An old hash is answered with 404, not with other content."""

    def locate(self, *names: str) -> tuple[Path | None, str]:
        """Return the file of that name if the hash is today's."""
        folder, name = names
        return (own_files().get(name), YEAR) if f"assets/{folder}" == assets_url() else (None, HOUR)


class LibraryFileHandler(_FileHandler):
    """`static/<path>`: scripts and styles of Bokeh and Panel, in place of the handlers that do not compress."""

    def locate(self, *names: str) -> tuple[Path | None, str]:
        """Return the file if it lies in a folder of Bokeh or of one of its extensions."""
        root, path = Path(bokeh_settings.bokehjs_path()), names[0]
        if path.startswith("extensions/"):
            extension, _, path = path.removeprefix("extensions/").partition("/")
            if extension not in extension_dirs:
                return None, HOUR
            root = Path(extension_dirs[extension])
        found = (root / path).resolve()
        if not found.is_relative_to(root.resolve()) or not found.is_file():
            return None, HOUR
        return found, YEAR if self.get_query_argument("v", "") else HOUR


def list_routes(files: FileCache) -> list[tuple[str, type[RequestHandler], dict[str, FileCache]]]:
    """Return the routes of the files."""
    return [
        (r"/assets/([0-9a-f]+)/([\w.-]+)", OwnFileHandler, {"files": files}),
        (r"/static/(.+)", LibraryFileHandler, {"files": files}),
    ]
