"""A proxy that holds an answer back and releases it at once: made for that alone, knows nothing of the harness.

`python holding_proxy.py PORT PIECE` passes connections on to that port, prints the port that it listens on, and writes
an answer as soon as it is whole, in pieces of PIECE bytes (0: one write of the server for each write that it read).
"""

import asyncio
import contextlib
import sys

_END = b"0\r\n\r\n"  # of an answer in HTTP's chunked coding


async def main(origin: int, size: int) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there = await asyncio.open_connection("127.0.0.1", origin)
        asked = asyncio.ensure_future(pass_on(reader, there))
        held: list[bytes] = []
        with contextlib.suppress(OSError):
            while data := await there_reader.read(65_536):
                held.append(data)
                if not data.endswith(_END):
                    continue
                whole = b"".join(held)
                for piece in [whole[at : at + size] for at in range(0, len(whole), size)] if size else held:
                    writer.write(piece)
                held = []
        asked.cancel()
        writer.close()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
