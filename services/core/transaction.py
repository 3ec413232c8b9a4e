"""Many commands to Redis in one transaction, with little work for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hiredis import pack_command
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

Command = tuple[str | bytes | int | float, ...]


async def transact(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """Run `commands` between MULTI and EXEC, all or none; their answers.

    What `redis.pipeline(transaction=True)` does in three times the CPU time. Nothing is tried a
    second time. Raises `RedisError`: a lost connection, after which the commands may have been
    run or not, or the first error that one of them led to.
    """
    if not commands:
        return []
    pool = redis.connection_pool
    connection: AbstractConnection = await pool.get_connection()  # type: ignore[no-untyped-call]
    try:
        if len(commands) == 1:
            await connection.send_packed_command(_packed(commands[0]))
            return [await connection.read_response()]
        packed = b"".join(map(_packed, (("MULTI",), *commands, ("EXEC",))))
        await connection.send_packed_command(packed)
        refused = [await _queued(connection) for _ in range(len(commands) + 1)]
        if error := next(filter(None, refused), None):
            await _queued(connection)
            raise error
        answers: list[Any] = await connection.read_response()
    except ResponseError:
        raise
    except BaseException:
        # Answers that were not read would be taken for those to the next commands.
        await connection.disconnect(nowait=True)
        raise
    finally:
        await pool.release(connection)
    for answer in answers:
        if isinstance(answer, RedisError):
            raise answer
    return answers


def _packed(command: Command) -> bytes:
    # Ten times as fast as the connection's own way.
    packed: bytes = pack_command(command)  # type: ignore[arg-type]  # its stub knows one word only
    return packed


async def _queued(connection: AbstractConnection) -> ResponseError | None:
    """Read the answer to a command that is put off until EXEC; its error if it is refused."""
    try:
        await connection.read_response()
    except ResponseError as error:
        return error
    return None
