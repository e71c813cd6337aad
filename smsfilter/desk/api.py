"""The desk's HTTP API: who asks, with what right, in what form, and what an error says.

A route is an async function from `Asked` to what will be JSON, and names the right that it needs.
Who asks comes from the token of their login, or from the kernel (SO_PEERCRED) on the UNIX socket;
what their roles do not allow is refused before the route sees it, and entered. Bodies and answers
are JSON; a number stands only in bodies, never in a path or query.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from smsfilter import log
from smsfilter.desk.entrance import Asker, Entrance
from smsfilter.desk.problems import Problem, invalid, not_found
from smsfilter.flow.rights import ROLES, Right, by_role
from smsfilter.ledger.actor import Actor
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

    __slots__ = ("_body", "_right", "asker", "path", "query")

    def __init__(
        self,
        asker: Asker | None,
        right: Right,
        path: Mapping[str, Any],
        query: Mapping[str, str],
        body: bytes,
    ) -> None:
        self.asker = asker
        self._right = right
        self.path = path
        self.query = query
        self._body = body

    @property
    def by(self) -> Actor:
        """Who asks, in the role that allows it."""
        return self.known.as_(by_role(self.known.roles, self._right) or "none")

    @property
    def known(self) -> Asker:
        """Who asks. Raises Problem where nobody has logged in."""
        if self.asker is None:
            raise Problem(HTTPStatus.UNAUTHORIZED, "log in first: smsfilter login")
        return self.asker

    def may(self, right: Right) -> bool:
        """Whether whoever asks has one more right than the route needs."""
        return by_role(self.known.roles, right) is not None

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


class APIRoute(Route):
    """A path and one method, with what a client has to know of it."""

    def __init__(
        self, path: str, handler: Handler, method: str, right: Right, body: type[BaseModel] | None
    ) -> None:
        super().__init__(path, _endpoint(handler, right), methods=[method])
        self.right = right
        self.body = body
        self.says = (handler.__doc__ or "").strip()


def route(
    path: str,
    handler: Handler,
    method: str = "GET",
    *,
    right: Right,
    body: type[BaseModel] | None = None,
) -> APIRoute:
    """Bind a handler to a path and one method; `body` is the model that it reads."""
    return APIRoute(path, handler, method, right, body)


def _endpoint(handler: Handler, right: Right) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        asker = await _asker(request, right)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_MOST:
                raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {BODY_MOST} octets")
        asked = Asked(asker, right, request.path_params, request.query_params, body)
        answer = await handler(asked)
        if isinstance(answer, Lines):
            return StreamingResponse(answer.content, media_type=answer.media_type)
        return _Answer(answer)

    return endpoint


async def _asker(request: Request, right: Right) -> Asker | None:
    """Return who asks, if they may. Raises Problem."""
    entrance: Entrance = request.app.state.entrance
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = token.strip() if scheme.lower() == "bearer" else None
    client = "" if request.client is None else request.client.host
    asker = await entrance.identify(given, client)
    if right is Right.ANYONE:
        return asker
    if asker is None:
        raise Problem(HTTPStatus.UNAUTHORIZED, "log in first: smsfilter login")
    if by_role(asker.roles, right) is None:
        path = request.scope["route"].path if "route" in request.scope else request.url.path
        await entrance.denied(asker, right, path)
        roles = " or ".join(ROLES[right])
        held = ", ".join(sorted(asker.roles)) or "nothing"
        raise Problem(HTTPStatus.FORBIDDEN, f"to {right} you have to be {roles}; you are {held}")
    return asker


def app(routes: Sequence[Route], entrance: Entrance) -> Starlette:
    """Put the API together; `entrance` knows who asks."""
    handlers: dict[Any, Any] = {
        Problem: _say_problem,
        RecordsAway: _say_away,
        RecordsError: _say_away,
        HTTPStatus.NOT_FOUND: _say_no_path,
        HTTPStatus.METHOD_NOT_ALLOWED: _say_no_path,
        Exception: _say_unhandled,
    }
    made = Starlette(routes=[Mount(VERSION, routes=list(routes))], exception_handlers=handlers)
    made.state.entrance = entrance
    return made


class _Answer(JSONResponse):
    """JSON as people read it: no escapes for what is not ASCII."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False).encode() + b"\n"


def _problem(status: int, detail: str, **more: object) -> Response:
    content = {"title": HTTPStatus(status).phrase, "status": int(status), "detail": detail, **more}
    return _Answer(content, status, media_type="application/problem+json")


async def _say_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - starlette's types cannot say it
    response = _problem(error.status, error.detail, **error.more)
    response.headers.update(error.headers)
    return response


async def _say_away(_request: Request, error: Exception) -> Response:
    detail = f"the records cannot be written or read now, nothing was changed: {error}"
    return _problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)


async def _say_no_path(request: Request, error: Exception) -> Response:
    problem = not_found(f"{request.method} {request.url.path} in this version of the API")
    return _problem(getattr(error, "status_code", problem.status), problem.detail)


async def _say_unhandled(request: Request, error: Exception) -> Response:
    log.get().error("unhandled", where="api", path=request.url.path, exc_info=error)
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the desk: see its log")
