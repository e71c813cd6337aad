"""One connection to Redis that never becomes another without notice.

What is written in several steps has to reach one server: a client that connects again by itself
would write the first half to the old master and the last to the new one. Here a lost connection
is an error, and whoever had it begins anew. WATCH and WAIT, too, are about the connection.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from redis.asyncio import Redis

EXCHANGE_S: Final = 3.0
"""For all replies of one round trip; a Redis that is slower is as good as away."""

Command = tuple[str | bytes | int, ...]


class Line:
    """The connection; see `dialled`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one go, and return their replies; an error reply is one of them.

        Raises RedisError, OSError and TimeoutError when the connection is lost.
        """
        if not commands:
            return []
        if not self._connection.is_connected:
            raise RedisConnectionError("Redis closed the connection")
        async with asyncio.timeout(EXCHANGE_S):
            packed = self._connection.pack_commands(commands)
            await self._connection.send_packed_command(packed, check_health=False)
            return [await self._reply() for _ in commands]

    async def do(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands of which none may fail. Raises the first error reply as well."""
        replies = await self.ask(commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    async def _reply(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error


@asynccontextmanager
async def dialled(client: "Redis") -> AsyncIterator[Line]:
    """Give a connection of its own to where `client` leads now; closed at the end."""
    pool = client.connection_pool
    connection: Any = await pool.get_connection()  # type: ignore[no-untyped-call]
    connection.socket_timeout = None  # with it, asyncio.wait_for loses cancellations (3.11)
    try:
        yield Line(connection)
    finally:
        await connection.disconnect(nowait=True)
        await pool.release(connection)
