"""The API as an OpenAPI 3.1 document, made from its routes: what is not in them is not in it.

Every path says in words what it does, with which right, what its query and body take, and how it
answers when it cannot. The right stands as `x-right` and in the words, for whoever writes a client.
"""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from smsfilter import __version__
from smsfilter.desk.idempotency import KEPT_S, KEY
from smsfilter.flow.rights import ROLES, Right

if TYPE_CHECKING:
    from smsfilter.desk.api import APIRoute

_IN_PATH: Final = re.compile(r"{([a-z_]+)(?::[a-z]+)?}")
_SCHEMAS: Final = "#/components/schemas/{model}"
_PROBLEMS: Final = {
    HTTPStatus.UNAUTHORIZED: "nobody has logged in, or the login has ended",
    HTTPStatus.FORBIDDEN: "no role of whoever asks has the right; it stands in the ledger",
    HTTPStatus.NOT_FOUND: "there is no such thing, or not in the branch of whoever asks",
    HTTPStatus.CONFLICT: "it is understood, and cannot be done as things are",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the body is too long",
    HTTPStatus.UNPROCESSABLE_ENTITY: "it is not what the path takes: `errors` has each place",
    HTTPStatus.TOO_MANY_REQUESTS: "too many in too short a time: wait as long as Retry-After says",
    HTTPStatus.SERVICE_UNAVAILABLE: "records or index are away; it may be repeated",
}
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "What went wrong, and what to do (RFC 9457)",
    "required": ["title", "status", "detail"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what is wrong, in a line"},
        "cure": {"type": "string", "description": "what to do about it"},
        "errors": {
            "type": "array",
            "description": "each thing that is wrong, with its place",
            "items": {
                "type": "object",
                "properties": {
                    "at": {"type": "string"},
                    "row": {"type": "integer"},
                    "problem": {"type": "string"},
                },
                "required": ["problem"],
            },
        },
    },
}
_KEY: Final[dict[str, Any]] = {
    "name": KEY,
    "in": "header",
    "description": "made up for this request: who repeats it within "
    f"{KEPT_S // 3600} h is answered as before, and nothing is done twice",
    "schema": {"type": "string", "pattern": "^[!-~]{1,64}$"},
}
_REPLAYED: Final[dict[str, Any]] = {
    "description": "true: this was answered before, and is only said again",
    "schema": {"type": "string", "enum": ["true"]},
}


def document(routes: "Iterable[APIRoute]", version: str) -> dict[str, Any]:
    """Describe the routes; `version` stands before every path."""
    found = list(routes)
    models = dict.fromkeys(each.body for each in found if each.body is not None)
    refs, schemas = _schemas(models)
    paths: dict[str, dict[str, Any]] = {}
    for each in found:
        path = _IN_PATH.sub(r"{\1}", each.path)
        for method in sorted(each.methods or ()):
            if method != "HEAD":
                paths.setdefault(path, {})[method.lower()] = _operation(each, method, path, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "smsfilter desk",
            "version": __version__,
            "description": "Spam reports, cases, blocks, companies and staff. Times are integers, "
            "µs UTC. A customer's number stands in bodies only. A list gives `items` and `next`, "
            "which is the `after` of the page that follows, null on the last one.",
        },
        "servers": [{"url": version}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {"Problem": _PROBLEM, **schemas},
            "responses": {each.name: _problem(said) for each, said in _PROBLEMS.items()},
            "parameters": {"IdempotencyKey": _KEY},
            "headers": {"Replayed": _REPLAYED},
            "securitySchemes": {
                "login": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "the token of smsfilter login: 8 h, 30 min without a request",
                }
            },
        },
    }


def _schemas(
    models: Mapping[type[BaseModel], None],
) -> tuple[dict[type[BaseModel], dict[str, Any]], dict[str, Any]]:
    """Where each model stands, and all of them with what they are made of."""
    placed, found = models_json_schema(
        [(each, "validation") for each in models], ref_template=_SCHEMAS
    )
    by_model = {model: schema for (model, _), schema in placed.items()}
    return {each: by_model[each] for each in models}, found.get("$defs", {})


def _operation(
    route: "APIRoute", method: str, path: str, refs: Mapping[type[BaseModel], Any]
) -> dict[str, Any]:
    summary, _, more = route.says.partition("\n")
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _IN_PATH.findall(route.path)
    ]
    parameters += [
        {"name": name, "in": "query", "description": said, "schema": {"type": "string"}}
        for name, said in route.query.items()
    ]
    if route.keyed:
        parameters.append({"$ref": "#/components/parameters/IdempotencyKey"})
    told: dict[str, Any] = {
        "operationId": _name(method, path),
        "summary": summary.rstrip("."),
        "tags": [path.split("/")[1].removesuffix(".json")],
        "x-right": str(route.right),
        "responses": _responses(route),
    }
    roles = ", ".join(ROLES[route.right])
    needs = f"Needs the right to {route.right}: {roles}."
    told["description"] = " ".join(each for each in (more.strip(), needs) if each)
    if route.right is Right.ANYONE:
        told["description"] = more.strip() or "Needs no login."
        told["security"] = []
    else:
        told["security"] = [{"login": []}]
    if parameters:
        told["parameters"] = parameters
    if route.body is not None:
        content = {"application/json": {"schema": refs[route.body]}}
        told["requestBody"] = {"required": True, "content": content}
    return told


def _responses(route: "APIRoute") -> dict[str, Any]:
    done: dict[str, Any] = {"description": "done; or what was asked for", "content": {}}
    done["content"] = {route.media_type: {}}
    if route.keyed:
        done["headers"] = {"Idempotent-Replayed": {"$ref": "#/components/headers/Replayed"}}
    refused = dict(_PROBLEMS)
    if route.right is Right.ANYONE:
        del refused[HTTPStatus.FORBIDDEN]
    if route.body is None:
        del refused[HTTPStatus.REQUEST_ENTITY_TOO_LARGE]
    return {
        "200": done,
        **{str(int(each)): {"$ref": f"#/components/responses/{each.name}"} for each in refused},
    }


def _problem(said: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": said, "content": {"application/problem+json": {"schema": schema}}}


def _name(method: str, path: str) -> str:
    words = re.findall(r"[a-z]+", path.replace("{", "by-"))
    return "-".join([method.lower(), *words])
