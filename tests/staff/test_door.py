"""The addresses where staff reach the desk: TLS, renewed certificates, and whoever is slow."""

import asyncio
import contextlib

import httpx
import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from smsfilter.desk import door as doors
from smsfilter.desk.door import StaffDoor
from smsfilter.peopleconfig import DeskListen
from smsfilter.tls import FileError
from tests.fakes.certificates import Authority
from tests.fakes.desks import opened


async def _who(request):
    return PlainTextResponse(request.client.host)


APP = Starlette(routes=[Route("/", _who)])


@pytest.fixture
def authority(tmp_path):
    """Who issues the desk's certificates."""
    return Authority(tmp_path)


def listening(tls=None) -> StaffDoor:
    return StaffDoor(APP, DeskListen.model_validate({"address": "127.0.0.1:0", "tls": tls}))


@pytest.mark.parametrize("address", ["0.0.0.0:8776", "10.0.0.5:8776", "[::]:8776", "desk:8776"])
def test_no_other_machine_without_tls(address):
    with pytest.raises(ValidationError, match="give it tls"):
        DeskListen.model_validate(address)


async def test_tls_and_a_certificate_that_is_renewed(authority):
    tls = authority.issue("desk").section()
    async with opened(listening(tls)) as door:
        url = f"https://{door.address}/"

        async def serial() -> bytes:
            context = authority.client()
            host, _, port = door.address.rpartition(":")
            _, writer = await asyncio.open_connection(host, int(port), ssl=context)
            found = writer.get_extra_info("ssl_object").getpeercert()["serialNumber"]
            writer.close()
            return found

        async with httpx.AsyncClient(verify=authority.client()) as http:
            assert (await http.get(url)).text == "127.0.0.1"
        before = await serial()
        authority.issue("desk")
        door.renew()
        assert await serial() != before

        async with httpx.AsyncClient() as http:
            with pytest.raises(httpx.HTTPError):
                await http.get(f"http://{door.address}/")


async def test_a_broken_certificate_is_said_and_the_old_one_stays(authority):
    issued = authority.issue("desk")
    async with opened(listening(issued.section())) as door:
        issued.certificate.write_text("no certificate")
        with pytest.raises(FileError, match="no certificate"):
            door.renew()

        async with httpx.AsyncClient(verify=authority.client()) as http:
            assert (await http.get(f"https://{door.address}/")).status_code == 200


async def test_a_port_that_is_taken_is_named():
    async with opened(listening()) as door:
        other = StaffDoor(APP, DeskListen.model_validate(door.address))
        with pytest.raises(OSError, match=f"cannot listen on {door.address}"):
            other.open()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: de"])
async def test_who_does_not_get_a_request_across_is_let_go_of(monkeypatch, sent):
    monkeypatch.setattr(doors, "SLOW_S", 0.2)
    async with opened(listening()) as door:
        host, _, port = door.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()


async def test_one_too_many_is_told_so(monkeypatch):
    monkeypatch.setattr(doors, "CONNECTIONS_MOST", 2)
    async with opened(listening()) as door:
        host, _, port = door.address.rpartition(":")
        others = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"http://{door.address}/")).status_code == 503
        for _, writer in others:
            writer.close()
