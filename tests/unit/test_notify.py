"""What arrives on the service manager's socket, and that its absence or hanging costs nothing."""

import os
import socket
import time
from pathlib import Path

import pytest

from smsfilter.notify import Notify


@pytest.fixture
def manager(tmp_path, monkeypatch):
    path = f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield listening


@pytest.fixture
def notify():
    made = []

    def make():
        made.append(Notify())
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_the_life_of_a_service_is_told_in_order(manager, notify, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    told = notify()
    told.ready("2 listeners")
    told.watchdog()
    before = time.monotonic_ns() // 1000
    told.reloading()
    told.ready()
    told.stopping("draining")
    said = [manager.recv(4096).decode() for _ in range(5)]
    assert said[0] == "READY=1\nSTATUS=2 listeners"
    assert said[1] == "WATCHDOG=1"
    reloading, _, since = said[2].partition("\nMONOTONIC_USEC=")
    assert reloading == "RELOADING=1"
    assert before <= int(since) <= time.monotonic_ns() // 1000
    assert said[3] == "READY=1"
    assert said[4] == "STOPPING=1\nSTATUS=draining"
    assert told.watchdog_s == 10


def test_children_do_not_inherit_the_socket(manager, notify, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    notify()
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & os.environ.keys()


def test_a_watchdog_for_another_process_is_not_ours(manager, notify, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    told = notify()
    told.watchdog()
    assert told.watchdog_s is None
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(100)


@pytest.mark.parametrize("usec", ["", "0", "soon"])
def test_no_watchdog_asked_for(manager, notify, monkeypatch, usec):
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    assert notify().watchdog_s is None


def test_without_a_service_manager_nothing_happens(notify, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    told = notify()
    told.ready()
    told.reloading()
    told.stopping()
    told.watchdog()


# sdnotify leaves the socket that it could not connect to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_service_manager_that_is_gone_is_no_error(notify, monkeypatch, tmp_path):
    monkeypatch.setenv("NOTIFY_SOCKET", f"{tmp_path}/nobody")
    notify().ready()


def test_a_service_manager_that_hangs_is_not_waited_for(manager, notify):
    told = notify()
    queue = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    for _ in range(queue + 1):
        told.ready()
    began = time.monotonic()
    told.ready()
    assert time.monotonic() - began < 1


def test_an_abstract_socket_will_do(notify, monkeypatch):
    name = f"smsfilter-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notify().ready()
        assert listening.recv(100) == b"READY=1"
