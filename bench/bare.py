"""A process to compare a start with: it imports the libraries that the adapter imports, and answers on a socket.

python -m bench.bare              prints their names, one a line
python -m bench.bare PORT FILE    imports the names in the file, then answers every request with 200
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from contextlib import suppress
from pathlib import Path


def libraries() -> list[str]:
    """Every module that is imported with the adapter's application, but for the adapter's own."""
    importlib.import_module("adapter.app")
    own = ("adapter", "bench", "__main__")
    return [name for name in sys.modules if name.partition(".")[0] not in own]


async def serve(port: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    await server.serve_forever()


def main(arguments: list[str]) -> None:
    if not arguments:
        print("\n".join(libraries()))
        return
    port, names = arguments
    for name in Path(names).read_text().split():
        importlib.import_module(name)
    importlib.import_module("uvloop").run(serve(int(port)))


if __name__ == "__main__":
    main(sys.argv[1:])
