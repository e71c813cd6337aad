"""The API says what it is: each route is in its document, and takes what it says and no more."""

import ast
import inspect
import textwrap

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from smsfilter.desk.api import APIRoute, app, route
from smsfilter.desk.entrance import Asker
from smsfilter.desk.problems import Problem
from smsfilter.flow.rights import ROLES, Right
from smsfilter.rules.policy import Model

VALUES = {"limit": "10", "since": "0", "purpose": "to answer", "rehearse": "yes"}


def filled(path: str) -> str:
    """A path with something for what is open in it."""
    return path.replace("{id}", "1")


def operations(said):
    """Each operation of a document, with its path and method."""
    for path, methods in said["paths"].items():
        for method, told in methods.items():
            yield path, method, told


async def test_the_document_is_valid_and_has_every_route(open_desk):
    said = await open_desk.get("/openapi.json")
    OpenAPIV31SpecValidator(said).validate()
    told = {(path, method) for path, method, _ in operations(said)}
    routed = {
        (each.path, method.lower())
        for each in open_desk.routes
        for method in each.methods
        if method != "HEAD"
    }
    assert told == routed | {("/openapi.json", "get")}
    ids = [each["operationId"] for _, _, each in operations(said)]
    assert len(set(ids)) == len(ids)


async def test_each_operation_says_what_it_does_and_who_may(open_desk):
    said = await open_desk.get("/openapi.json")
    for path, method, told in operations(said):
        assert len(told["summary"]) > 8, (path, method)
        right = Right(told["x-right"])
        assert all(role in told["description"] for role in ROLES[right] if right != Right.ANYONE)
        assert {"200", "401", "422", "503"} <= set(told["responses"])
        if method == "post" and not path.startswith(("/backup", "/session", "/sessions")):
            assert "requestBody" in told or path.endswith(NO_BODY), (path, method)


NO_BODY = (
    *("/logout", "/staff/{id}/code", "/take", "/end", "/grant", "/refuse", "/take-back", "/half"),
    *("/leave", "/reset", "/restore"),
)
"""Ends of paths whose POST needs nothing said."""


async def test_what_the_query_takes_and_no_more(open_desk):
    for each in open_desk.routes:
        (method,) = each.methods - {"HEAD"}
        url = filled(each.path)
        asked_by = open_desk.as_(None) if each.right is Right.GIVE_CODES else open_desk
        refused = await asked_by.http.request(method, url, params={"unheard": "x"})
        assert refused.status_code == 422, (each.path, refused.text)
        assert "unheard is not known here" in refused.json()["detail"]
        for name in each.query or ():
            value = VALUES.get(name, "1")
            said = await open_desk.http.request(method, url, params={name: value})
            assert "not known here" not in said.text, (each.path, name)


READS_QUERY = ("query", "page", "before")


async def test_a_route_that_reads_its_query_or_body_says_so(open_desk):
    for each in open_desk.routes:
        tree = ast.parse(textwrap.dedent(inspect.getsource(each.handler)))
        read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        if read & set(READS_QUERY):
            assert each.query, f"{each.path}: declare what it reads: route(…, query=…)"
        if "body" in read:
            assert each.body, f"{each.path}: declare what it reads: route(…, body=…)"


class NobodyEntrance:
    """Knows one clerk by the token `clerk`; nobody else."""

    async def identify(self, token, client):
        return Asker("staff:c", frozenset({"clerk"}), client) if token == "clerk" else None

    async def denied(self, asker, right, path):
        self.refused = (asker.name, right, path)


class Wanted(Model):
    name: str
    ages: list[int]


async def of(asked):
    """Say it."""
    wanted = asked.body(Wanted)
    return {"name": wanted.name}


async def broken(asked):
    """Fail."""
    raise Problem(503, "away")


@pytest.fixture
async def small():
    entrance = NobodyEntrance()
    routes = [
        route("/of/{id}", of, "POST", right=Right.SEE_REPORTS, body=Wanted),
        route("/rota", of, "POST", right=Right.SET_ROTA, body=Wanted),
        route("/broken", broken, right=Right.ANYONE),
    ]
    transport = httpx.ASGITransport(app(routes, entrance, None))
    async with httpx.AsyncClient(transport=transport, base_url="http://desk/v1") as client:
        client.entrance = entrance
        yield client


CLERK = {"Authorization": "Bearer clerk"}


async def test_a_problem_says_what_to_do(small):
    for answer, status, cure in (
        (await small.post("/of/1", json={}), 401, "smsfilter login"),
        (await small.post("/rota", json={}, headers=CLERK), 403, "headquarters"),
        (await small.get("/nowhere"), 404, "openapi.json"),
        (await small.get("/broken"), 503, "same Idempotency-Key"),
    ):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
        assert cure in answer.json()["cure"]
    assert small.entrance.refused == ("staff:c", Right.SET_ROTA, "/rota")


async def test_who_is_unknown_is_told_how_to_come_in(small):
    answer = await small.post("/of/1", json={})
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_each_error_of_a_body_has_its_place(small):
    answer = await small.post("/of/1", json={"ages": [1, "x"]}, headers=CLERK)
    assert answer.status_code == 422
    assert [each["at"] for each in answer.json()["errors"]] == ["name", "ages.1"]
    answer = await small.post("/of/1", content=b"{", headers=CLERK)
    assert answer.json()["errors"][0]["at"] == "body"


async def test_it_may_be_read_before_a_login(small):
    said = (await small.get("/openapi.json")).json()
    assert said["paths"]["/openapi.json"]["get"]["security"] == []
    assert said["paths"]["/of/{id}"]["post"]["security"] == [{"login": []}]


def test_a_route_is_told_from_its_handler():
    assert isinstance(route("/of", of, right=Right.ANYONE), APIRoute)
