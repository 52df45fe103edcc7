"""A slow link as a TCP proxy, to hold ours against: made for that alone, knows nothing of the harness, really waits.

`python link_proxy.py '{"target": 8080, "rtt": 0.15, "jitter": 0.015, "down": 1600, "up": 750, "silences": [[1, 2]]}'`
prints the port that it listens on. Seconds and kbit/s; silences count from when a connection came. Each connection's
delays are drawn from its number, so that they are the same each time.
"""

import asyncio
import contextlib
import json
import sys
from collections import deque
from itertools import count
from random import Random
from typing import Any

_SEGMENT, _HEADERS = 1_448, 66


async def pump(  # long: its three tasks share the state of one direction
    link: dict[str, Any],
    way: str,
    came_at: float,
    random: Random,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """One direction: wait for the wire, occupy it for as long as the bytes take, hand them on after the delay."""
    waiting = bytearray()
    arrived = asyncio.Event()
    on_the_way: deque[tuple[float, bytes]] = deque()
    sent = asyncio.Event()
    now = asyncio.get_running_loop().time

    began_at = 0.0  # when the oldest of what is waiting came

    async def receive() -> None:
        nonlocal began_at
        while data := await reader.read(65_536):
            began_at = began_at if waiting else now()
            waiting.extend(data)
            arrived.set()

    async def transmit() -> None:
        free_at = 0.0
        while True:
            while not waiting:
                arrived.clear()
                await arrived.wait()
            free_at = max(free_at, began_at)
            for begin, end in link["silences"]:
                if begin <= free_at - came_at < end:
                    free_at = came_at + end
            await asyncio.sleep(free_at - now())
            segment = bytes(waiting[:_SEGMENT])
            del waiting[:_SEGMENT]
            free_at += (len(segment) + _HEADERS) * 8 / link[way] / 1000
            on_the_way.append((free_at + delay(link, random), segment))
            sent.set()

    async def hand_on() -> None:
        while True:
            while not on_the_way:
                sent.clear()
                await sent.wait()
            due, segment = on_the_way.popleft()
            await asyncio.sleep(due - now())
            writer.write(segment)

    others = [asyncio.ensure_future(work()) for work in (transmit, hand_on)]
    try:
        await receive()
        while waiting or on_the_way:
            await asyncio.sleep(0.01)
    finally:
        for other in others:
            other.cancel()
        with contextlib.suppress(OSError):
            writer.close()


def delay(link: dict[str, Any], random: Random) -> float:
    return float(link["rtt"] / 2 + (random.expovariate(1 / link["jitter"]) if link["jitter"] else 0))


async def main(link: dict[str, Any]) -> None:
    numbers = count()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came_at, seed = asyncio.get_running_loop().time(), next(numbers)
        random = Random(seed)
        # What a proxy cannot delay, the kernel's handshake, is put before the first byte.
        await asyncio.sleep(delay(link, random) + delay(link, random))
        there_reader, there = await asyncio.open_connection("127.0.0.1", link["target"])
        down = asyncio.ensure_future(pump(link, "down", came_at, Random(f"{seed}/down"), there_reader, writer))
        await pump(link, "up", came_at, Random(f"{seed}/up"), reader, there)
        await down

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
