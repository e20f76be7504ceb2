"""The page, with which people see and steer a runner from a browser: its files, as they are."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local_runner.http.routing import route

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

HEADERS = {
    # Nothing but these files and the API: no inline script or style, no frame, no other site, and
    # no text that becomes markup.
    "content-security-policy": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # After an upgrade nobody has half of the old page.
    "cache-control": "no-cache",
}


def page_routes() -> list[Route]:
    """The routes of the page and of the files it is made of, which are read now."""
    files = [path for path in Path(__file__).parent.iterdir() if path.suffix in TYPES]
    return [_file(path) for path in files]


def _file(path: Path) -> Route:
    content = path.read_bytes()
    where = "/" if path.name == "index.html" else f"/page/{path.name}"

    async def respond(_: Request) -> Response:
        return Response(content, headers=HEADERS, media_type=TYPES[path.suffix])

    return route("GET", where, respond)
