"""asyncio and aiohttp without a load tester: reads line by line, and takes Python's clock for every token.

python -m tests.benchmarks.readers.aiohttp_reader URL STREAMS LOG      until SIGTERM
"""

import asyncio
import signal
import sys
import time
from array import array
from pathlib import Path
from typing import BinaryIO

import aiohttp  # type: ignore[import-not-found, unused-ignore]  # optional: measured if it is installed

from tests.benchmarks.server import ANSWER, CUT_OFF, write_row


async def _ask(
    session: aiohttp.ClientSession, url: str, log: BinaryIO, after: float
) -> None:  # deep: written as people write it
    await asyncio.sleep(after)
    while True:
        began, at, number = time.monotonic_ns(), array("q"), CUT_OFF
        async with session.post(f"{url}/v1/messages", json={"stream": True}) as response:
            try:
                async for line in response.content:
                    if line.startswith(b"event: content_block_delta"):
                        at.append(time.monotonic_ns())
                number = int(response.headers["request-id"][4:])
            finally:  # also when the run ends in mid-answer
                write_row(log, number, began, 0, at)


async def _main(url: str, streams: int, path: Path) -> None:
    with path.open("wb") as log:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            users = asyncio.gather(*(_ask(session, url, log, ANSWER * number / streams) for number in range(streams)))
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, users.cancel)
            await asyncio.wait([users])


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
