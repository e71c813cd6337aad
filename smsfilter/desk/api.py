"""The desk's HTTP API on its UNIX socket: who asks, in what form, and what an error says.

A route is an async function from `Asked` to what will be JSON. Whoever may open the socket (its
owner and root: 0600) may ask; who it is comes from the kernel (SO_PEERCRED), not from the
request. Bodies and answers are JSON; a number stands only in bodies, never in a path or query.
"""

import json
import pwd
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from smsfilter import log
from smsfilter.desk.problems import Problem, invalid, not_found
from smsfilter.ledger.actor import Actor, local
from smsfilter.store.records import RecordsAway, RecordsError

VERSION: Final = "/v1"
"""Before every path."""
BODY_MOST: Final = 32 << 20
"""Octets of a request: a registry of some 100,000 sources, a file of as many reports."""
PAGE_MOST: Final = 500
_ID_DIGITS: Final = 18
"""Digits of an id: more do not fit the 64 bits of a row's number."""
_CURSOR: Final = re.compile(r"[0-9A-Za-z._-]{0,64}")

Handler = Callable[["Asked"], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Lines:
    """An answer as a stream of lines, for what may be too long for the memory."""

    content: AsyncIterator[bytes]
    media_type: str = "application/jsonl"


class Asked:
    """One request."""

    __slots__ = ("_body", "by", "path", "query")

    def __init__(
        self, by: Actor, path: Mapping[str, Any], query: Mapping[str, str], body: bytes
    ) -> None:
        self.by = by
        self.path = path
        self.query = query
        self._body = body

    def body(self, model: type[BaseModel]) -> Any:
        """Read the body as `model`. Raises Problem: each error with its place."""
        try:
            return model.model_validate_json(self._body)
        except ValidationError as error:
            said = [
                {"at": ".".join(map(str, each["loc"])), "problem": each["msg"]}
                for each in error.errors(include_url=False, include_input=False)
            ]
            first = said[0]
            raise invalid(f"{first['at']}: {first['problem']}", errors=said) from None

    def text(self) -> bytes:
        """The body as it came."""
        return self._body

    def before(self) -> tuple[int | None, int]:
        """Return below which id a list is wanted, the newest first, and how many. Problem."""
        after, limit = self.page()
        if after and not (after.isdigit() and len(after) <= _ID_DIGITS):
            raise invalid("after is the `next` of the page before")
        return int(after) if after else None, limit

    def id(self) -> int:
        """Return the number in the path. Raises Problem."""
        text = self.path["id"]
        if not text.isascii() or not text.isdigit() or len(text) > _ID_DIGITS:
            raise not_found(text)
        return int(text)

    def page(self) -> tuple[str, int]:
        """Return from where on a list is wanted, and how many. Raises Problem."""
        after, limit = self.query.get("after", ""), self.query.get("limit", "50")
        if not limit.isdigit() or not 1 <= int(limit[:9]) <= PAGE_MOST:
            raise invalid(f"limit is a number from 1 to {PAGE_MOST}")
        if not _CURSOR.fullmatch(after):
            raise invalid("after is the `next` of the page before")
        return after, int(limit)


def route(path: str, handler: Handler, method: str = "GET") -> Route:
    """Bind a handler to a path and one method."""

    async def endpoint(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_MOST:
                raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {BODY_MOST} octets")
        asked = Asked(_asker(request), request.path_params, request.query_params, body)
        answer = await handler(asked)
        if isinstance(answer, Lines):
            return StreamingResponse(answer.content, media_type=answer.media_type)
        return _Answer(answer)

    return Route(path, endpoint, methods=[method])


def app(routes: Sequence[Route]) -> Starlette:
    """Put the API together."""
    handlers: dict[Any, Any] = {
        Problem: _say_problem,
        RecordsAway: _say_away,
        RecordsError: _say_away,
        HTTPStatus.NOT_FOUND: _say_no_path,
        HTTPStatus.METHOD_NOT_ALLOWED: _say_no_path,
        Exception: _say_unhandled,
    }
    return Starlette(routes=[Mount(VERSION, routes=list(routes))], exception_handlers=handlers)


class _Answer(JSONResponse):
    """JSON as people read it: no escapes for what is not ASCII."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False).encode() + b"\n"


def _problem(status: int, detail: str, **more: object) -> Response:
    content = {"title": HTTPStatus(status).phrase, "status": int(status), "detail": detail, **more}
    return _Answer(content, status, media_type="application/problem+json")


async def _say_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - starlette's types cannot say it
    return _problem(error.status, error.detail, **error.more)


async def _say_away(_request: Request, error: Exception) -> Response:
    detail = f"the records cannot be written or read now, nothing was changed: {error}"
    return _problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)


async def _say_no_path(request: Request, error: Exception) -> Response:
    problem = not_found(f"{request.method} {request.url.path} in this version of the API")
    return _problem(getattr(error, "status_code", problem.status), problem.detail)


async def _say_unhandled(request: Request, error: Exception) -> Response:
    log.get().error("unhandled", where="api", path=request.url.path, exc_info=error)
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the desk: see its log")


def _asker(request: Request) -> Actor:
    client = request.client
    if client is None or not client.host.startswith("uid:"):
        raise Problem(HTTPStatus.FORBIDDEN, "nobody can tell who asks")
    return local(_user(int(client.host.removeprefix("uid:"))))


@lru_cache(maxsize=64)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
