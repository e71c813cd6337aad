"""The bare relay, the yardstick: octets go from one peer to the other, nothing else is done."""

import asyncio
import io
import sys

import uvloop


class Half(asyncio.Protocol):
    def __init__(self, peer=None):
        self.peer = peer or io.BytesIO()  # keeps what comes before the SMSC is reached

    def connection_made(self, transport):
        self.transport = transport
        if isinstance(self.peer, io.BytesIO):
            loop.create_task(self.dial())

    async def dial(self):
        early, smsc = self.peer, ("127.0.0.1", int(sys.argv[1]))
        self.peer, _ = await loop.create_connection(lambda: Half(self.transport), *smsc)
        self.peer.write(early.getvalue())

    def data_received(self, data):
        self.peer.write(data)

    def connection_lost(self, exc):
        self.peer.close()


loop = uvloop.new_event_loop()
server = loop.run_until_complete(loop.create_server(Half, "127.0.0.1", 0))
print(server.sockets[0].getsockname()[1], flush=True)
loop.run_forever()
