"""Strangers: so many connections that never log in, from so many addresses of this machine. A third
says nothing, a third an identification that never ends, a third garbage. Whoever is sent away comes
again after a while. Says `flooding` once each has come, and ends with its standard input.

usage: flood.py PORT [MANY] [ADDRESSES] [AGAIN_AFTER_SECONDS]
"""

import asyncio
import os
import resource
import sys


async def stranger(number, port, address, again, came):
    """Comes, says what it has to say, and comes again."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        except OSError:
            came()
            await asyncio.sleep(again)
            continue
        came()
        try:
            match number % 3:
                case 0:
                    await held(reader)
                case 1:
                    await slowly(writer)
                case _:
                    writer.write(b"SSH-2.0-x\r\n" + os.urandom(4000))
                    await held(reader)
        except OSError:
            pass
        writer.close()
        await asyncio.sleep(again)


async def slowly(writer):
    for byte in b"SSH-2.0-" + b"x" * 200:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.5)


async def held(reader):
    while await reader.read(4096):
        pass


async def main():
    words = sys.argv[1:] + ["2000", "50", "5"][len(sys.argv) - 2 :]
    port, many, addresses, again = (float(word) for word in words)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    left = set(range(int(many)))
    flooding = asyncio.Event()

    def here(number):
        left.discard(number)
        if not left:
            flooding.set()

    strangers = [
        asyncio.create_task(
            stranger(n, int(port), f"127.0.9.{1 + n % int(addresses)}", again, lambda n=n: here(n))
        )
        for n in range(int(many))
    ]
    await flooding.wait()
    print("flooding", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for one in strangers:
        one.cancel()


asyncio.run(main())
