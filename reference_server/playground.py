"""The files of the browser playground: one page and its modules. There is no build step and no file from elsewhere.

The page may reach only its own server, runs no scripts but these files, and cannot turn a string into markup. So the
browser itself refuses to run anything that a model writes.
"""

from pathlib import Path

from fastapi import FastAPI, HTTPException, Response

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # so that a newer server's page is used at once
}


def add_to(app: FastAPI) -> None:
    """Serve the page at `/` and its files under `/static/`. The files are read here, so no request touches the disk."""
    files = {path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in _FOLDER.iterdir()}

    @app.get("/static/{name}", include_in_schema=False)
    async def file(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "the playground has no such file")
        content, media_type = files[name]
        return Response(content, headers=HEADERS, media_type=media_type)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return await file("index.html")
