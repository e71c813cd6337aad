"""smpplib as an ESME: commands as JSON lines on stdin, what happens as JSON lines on stdout.

Speaks the same little language as client.js beside it; see tests/fakes/peer.py. It runs smpplib as
its users do, in one thread with `read_once`, and looks at stdin between PDUs. Nothing here knows
of smsfilter.
"""

import json
import select
from typing import Any

import smpplib.client
import smpplib.exceptions


def say(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


class Client:
    def __init__(self) -> None:
        self.client: smpplib.client.Client | None = None
        self.open: dict[int, str] = {}
        self.waiting: list[tuple[str, str]] = []
        self.count = 0

    def bind(self, port: int, system_id: str, password: str) -> None:
        client = smpplib.client.Client("127.0.0.1", port, allow_unknown_opt_params=True)
        client.set_message_sent_handler(self.answered)
        client.set_error_pdu_handler(self.refused)
        client.set_message_received_handler(self.delivered)
        self.open.clear()
        try:
            client.connect()
            client.bind_transceiver(system_id=system_id, password=password)
        except smpplib.exceptions.PDUError as error:
            client._socket.close()
            client._socket = None
            say("bound", status=error.args[1])
        except smpplib.exceptions.ConnectionError as error:
            say("error", why=str(error))
        else:
            self.client = client
            say("bound", status=0)

    def submit(self, source: str, destinations: list[str], window: int) -> None:
        self.waiting = [(source, destination) for destination in destinations]
        for _ in range(window):
            self.submit_one()

    def submit_one(self) -> None:
        if not self.waiting or self.client is None:
            return
        source, destination = self.waiting.pop(0)
        self.count += 1
        pdu = self.client.send_message(
            source_addr=source,
            destination_addr=destination,
            short_message=f"hello {self.count}".encode(),
            registered_delivery=True,
        )
        self.open[pdu.sequence] = destination
        say("sent", destination=destination, octets=pdu.generate().hex())

    def refused(self, pdu: Any) -> None:
        if pdu.command != "submit_sm_resp":  # smpplib hands that one to `answered` as well
            say("error", why=f"{pdu.command} with status {pdu.status}")

    def answered(self, pdu: Any, **_: Any) -> None:
        message_id = getattr(pdu, "message_id", None) or b""
        say(
            "answered",
            destination=self.open.pop(pdu.sequence),
            status=pdu.status,
            message_id=message_id.decode(),
        )
        self.submit_one()

    def delivered(self, pdu: Any) -> None:
        say(
            "delivered",
            source=pdu.source_addr.decode(),
            destination=pdu.destination_addr.decode(),
            esm_class=pdu.esm_class,
            text=pdu.short_message.decode(),
        )

    def unbind(self) -> None:
        assert self.client is not None
        self.client.unbind()
        self.client.disconnect()
        self.client = None
        say("unbound", status=0)
        say("closed")

    def read(self) -> None:
        assert self.client is not None
        try:
            self.client.read_once(auto_send_enquire_link=False)
        except smpplib.exceptions.ConnectionError:
            self.client.disconnect()
            self.client = None
            say("closed")

    def run(self) -> None:
        say("started")
        commands = open(0, "rb", buffering=0)  # noqa: SIM115 - buffered, select would miss lines
        while True:
            sockets = [] if self.client is None else [self.client._socket]
            readable, _, _ = select.select([commands, *sockets], [], [])
            if commands in readable:
                line = commands.readline()
                if not line:
                    return
                command = json.loads(line)
                getattr(self, command.pop("do"))(**command)
            elif readable:
                self.read()


if __name__ == "__main__":
    Client().run()
