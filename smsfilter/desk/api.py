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
from inspect import cleandoc
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from smsfilter import log
from smsfilter.desk.entrance import Asker, Entrance
from smsfilter.desk.idempotency import KEY, REPLAYED, Answer, Idempotency, Keyed
from smsfilter.desk.office import Office
from smsfilter.desk.openapi import document
from smsfilter.desk.problems import Problem, invalid, not_found
from smsfilter.flow.rights import ROLES, Right, by_role
from smsfilter.ledger.actor import Actor
from smsfilter.store.records import RecordsAway, RecordsError
from smsfilter.store.transaction import Transaction

T = TypeVar("T")

VERSION: Final = "/v1"
"""Before every path."""
BODY_MOST: Final = 32 << 20
"""Octets of a request: a registry of some 100,000 sources, a file of as many reports."""
STRANGERS_BODY_MOST: Final = 16 << 10
"""Octets of a request of somebody who has not logged in: a login, a code."""
PAGE_MOST: Final = 500
_ID_DIGITS: Final = 18
"""Digits of an id: more do not fit the 64 bits of a row's number."""
_CURSOR: Final = re.compile(r"[0-9A-Za-z._-]{0,64}")

PAGE: Final[dict[str, str]] = {
    "after": "the `next` of the page before; none: from the start",
    "limit": f"items of a page, 1 to {PAGE_MOST}; 50 where it is not given",
}
"""What every list takes in its query."""

CURES: Final = {
    HTTPStatus.UNAUTHORIZED: "smsfilter login; then send Authorization: Bearer TOKEN",
    HTTPStatus.FORBIDDEN: "ask somebody who is that; headquarters gives roles: smsfilter staff",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "send it in parts",
    HTTPStatus.SERVICE_UNAVAILABLE: "repeat it in a moment, with the same Idempotency-Key",
    HTTPStatus.INTERNAL_SERVER_ERROR: "give the engineer of the desk the time of this answer",
}
"""What to do about an answer, where it does not say so itself."""
_DOCUMENT: Final = "/openapi.json"
_PATHS: Final = f"GET {VERSION}{_DOCUMENT} lists every path"
_HEADERS: Final = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": 'Bearer realm="smsfilter"'},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "1"},
}
_JSON: Final = "application/json"
_PROBLEM: Final = "application/problem+json"

Handler = Callable[["Asked"], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Lines:
    """An answer as a stream of lines, for what may be too long for the memory."""

    content: AsyncIterator[bytes]
    media_type: str = "application/jsonl"


class Asked:
    """One request."""

    __slots__ = ("_body", "_right", "asker", "keyed", "office", "path", "query")

    def __init__(
        self,
        asker: Asker | None,
        right: Right,
        path: Mapping[str, Any],
        query: Mapping[str, str],
        body: bytes,
    ) -> None:
        self.office: Office | None = None
        self.keyed: Keyed | None = None
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
                {"at": ".".join(map(str, each["loc"])) or "body", "problem": each["msg"]}
                for each in error.errors(include_url=False, include_input=False)
            ]
            first = said[0]
            raise invalid(f"{first['at']}: {first['problem']}", errors=said) from None

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Do what is asked, in one transaction, and with it note its idempotency key.

        For what is done in one transaction: of several only the first would be known again.
        Raises what Writer.write does.
        """
        assert self.office is not None, "the app was made without an office"  # noqa: S101
        keyed = self.keyed
        if keyed is None:
            return await self.office.writer.write(work)

        def noted(transaction: Transaction) -> T:
            done = work(transaction)
            keyed.note(transaction)
            return done

        done = await self.office.writer.write(noted)
        keyed.is_noted = True
        return done

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
        self,
        path: str,
        handler: Handler,
        method: str,
        *,
        right: Right,
        body: type[BaseModel] | None,
        query: Mapping[str, str] | None,
        keyed: bool,
        media_type: str,
    ) -> None:
        self.right = right
        self.media_type = media_type
        self.body = body
        self.query = query or {}
        self.keyed = keyed and method != "GET" and right is not Right.ANYONE
        self.says = cleandoc(handler.__doc__ or "")
        self.handler = handler
        super().__init__(path, self._answer, methods=[method])

    async def _answer(self, request: Request) -> Response:
        asker = await _asker(request, self.right)
        self._check(request.query_params)
        body = await _read(request, STRANGERS_BODY_MOST if asker is None else BODY_MOST)
        state = request.app.state
        asked = Asked(asker, self.right, request.path_params, request.query_params, body)
        asked.office = state.office
        key = request.headers.get(KEY)
        if key is None or asker is None or not self.keyed:
            return _response(await self.handler(asked))
        what = f"{request.method} {request.url.path}?{request.url.query}\n".encode() + body
        return await self._once(state.idempotency, asked, key, what)

    async def _once(
        self, idempotency: Idempotency, asked: Asked, key: str, request: bytes
    ) -> Response:
        """Answer a request that has a key: as before, if it was answered before."""
        with idempotency.under_way(asked.by, key, request) as keyed:
            before = await idempotency.before(keyed)
            if before is not None:
                media = _JSON if before.status < HTTPStatus.BAD_REQUEST else _PROBLEM
                return Response(before.octets, before.status, {REPLAYED: "true"}, media)
            asked.keyed = keyed
            try:
                response = _response(await self.handler(asked))
            except Problem as problem:
                if not keyed.is_noted or problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise  # nothing was done, or nobody can say yet what came of it
                response = _said(problem)
            if not isinstance(response, StreamingResponse):
                octets = bytes(response.body)
                await idempotency.keep(keyed, Answer(response.status_code, octets))
            return response

    def _check(self, query: Mapping[str, str]) -> None:
        """Refuse what the path does not take: a slip in its name would go unnoticed. Problem."""
        for name in query:
            if name not in self.query:
                taken = ", ".join(sorted(self.query)) or "nothing"
                raise invalid(f"{name} is not known here: the query takes {taken}")


def route(
    path: str,
    handler: Handler,
    method: str = "GET",
    *,
    right: Right,
    body: type[BaseModel] | None = None,
    query: Mapping[str, str] | None = None,
    keyed: bool = True,
    media_type: str = _JSON,
) -> APIRoute:
    """Bind a handler to a path and one method.

    `body` is the model that it reads. `query` names the parameters of its query, each with its
    line for people: others are refused; a list takes PAGE | {...}. `keyed`: it takes an
    idempotency key, if it is no GET; False for a POST that only looks, or that gives a stream,
    whose `media_type` is another than that of JSON.
    """
    return APIRoute(
        path,
        handler,
        method,
        right=right,
        body=body,
        query=query,
        keyed=keyed,
        media_type=media_type,
    )


async def _read(request: Request, most: int) -> bytes:
    """Read the body. Raises Problem where it has more than `most` octets."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {most} octets")
    return bytes(body)


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
        detail = f"to {right} you have to be {roles}; you are {held}"
        if asker.staff is None:
            detail += ": log in first: smsfilter login"
        raise Problem(HTTPStatus.FORBIDDEN, detail)
    return asker


def app(routes: Sequence[Route], entrance: Entrance, office: Office) -> Starlette:
    """Put the API together; `entrance` knows who asks."""
    handlers: dict[Any, Any] = {
        Problem: _say_problem,
        RecordsAway: _say_away,
        RecordsError: _say_away,
        HTTPStatus.NOT_FOUND: _say_no_path,
        HTTPStatus.METHOD_NOT_ALLOWED: _say_no_path,
        Exception: _say_unhandled,
    }
    told: dict[str, Any] = {}

    async def openapi(_asked: Asked) -> Any:
        """Describe this API: the document that you read."""
        return told

    described = route(_DOCUMENT, openapi, right=Right.ANYONE)
    every = [*routes, described]
    told |= document([each for each in every if isinstance(each, APIRoute)], VERSION)
    made = Starlette(routes=[Mount(VERSION, routes=every)], exception_handlers=handlers)
    made.state.entrance, made.state.office = entrance, office
    made.state.idempotency = Idempotency(office)
    return made


class _Answer(JSONResponse):
    """JSON as people read it: no escapes for what is not ASCII."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False).encode() + b"\n"


def _response(answer: Any) -> Response:
    if isinstance(answer, Lines):
        return StreamingResponse(answer.content, media_type=answer.media_type)
    return _Answer(answer)


def _said(problem: Problem) -> Response:
    more = {"cure": CURES[problem.status]} if problem.status in CURES else {}
    content = {
        "title": HTTPStatus(problem.status).phrase,
        "status": int(problem.status),
        "detail": problem.detail,
        **more,
        **problem.more,
    }
    headers = _HEADERS.get(problem.status, {}) | problem.headers
    return _Answer(content, problem.status, headers, _PROBLEM)


async def _say_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - starlette's types cannot say it
    return _said(error)


async def _say_away(_request: Request, error: Exception) -> Response:
    detail = f"the records cannot be written or read now, nothing was changed: {error}"
    return _said(Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail))


async def _say_no_path(request: Request, error: Exception) -> Response:
    problem = not_found(f"{request.method} {request.url.path} in this version of the API")
    status = HTTPStatus(getattr(error, "status_code", problem.status))
    return _said(Problem(status, problem.detail, cure=_PATHS))


async def _say_unhandled(request: Request, error: Exception) -> Response:
    log.get().error("unhandled", where="api", path=request.url.path, exc_info=error)
    return _said(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the desk: see its log"))
