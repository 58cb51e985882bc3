"""The page that shows the API's operations, of three files of its own: it loads nothing from anywhere else.

What a page from elsewhere runs, it runs with the token of whoever reads it; and a network may have no way to elsewhere.
"""

from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Response

_TYPES: Final = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "Cache-Control": "no-cache",
}

router = APIRouter(prefix="/api/docs", include_in_schema=False)


@router.get("")
async def get_docs() -> Response:
    return _file("page.html")


@router.get("/page.css")
async def get_style() -> Response:
    return _file("page.css")


@router.get("/page.js")
async def get_script() -> Response:
    return _file("page.js")


def _file(name: str) -> Response:
    content = files(__package__).joinpath(name).read_bytes()
    return Response(content, media_type=f"{_TYPES[name]}; charset=utf-8", headers=_HEADERS)
