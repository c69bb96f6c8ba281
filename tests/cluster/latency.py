"""A relay that makes a network slow: ``latency.py PORT HOST PORT FILE``.

FILE holds the round-trip in seconds, now; without it nothing is delayed.
"""

import asyncio
import sys
import time
from pathlib import Path

LISTEN, HOST, PORT, FILE = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
_CHUNK_BYTES = 65_536
_LOOK_S = 0.05
_known = {"one_way_s": 0.0, "until": 0.0}


def one_way_s() -> float:
    """Half of the round-trip; looked up now and then, for that takes as long as passing a piece on."""
    now = time.monotonic()
    if now > _known["until"]:
        try:
            _known["one_way_s"] = float(FILE.read_text()) / 2
        except FileNotFoundError:
            _known["one_way_s"] = 0.0
        _known["until"] = now + _LOOK_S
    return _known["one_way_s"]


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection; setting it up takes a round-trip, too."""
    await asyncio.sleep(2 * one_way_s())
    try:
        upstream_reader, upstream_writer = await asyncio.open_connection(HOST, PORT)
    except OSError:
        writer.close()
        return
    await asyncio.gather(pass_on(reader, upstream_writer), pass_on(upstream_reader, writer))


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Each piece arrives half a round-trip after it was sent; more may be under way meanwhile."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

    async def read() -> None:
        data = b"-"
        while data:
            try:
                data = await reader.read(_CHUNK_BYTES)
            except ConnectionError:
                data = b""
            await under_way.put((loop.time() + one_way_s(), data))

    reading = asyncio.create_task(read())
    while True:
        due_s, data = await under_way.get()
        await asyncio.sleep(max(0.0, due_s - loop.time()))
        if not data:
            break
        try:
            writer.write(data)
            await writer.drain()
        except ConnectionError:
            break
    reading.cancel()
    writer.close()


async def main() -> None:
    """Until it is killed."""
    server = await asyncio.start_server(serve, "0.0.0.0", LISTEN)
    async with server:
        await server.serve_forever()


asyncio.run(main())
