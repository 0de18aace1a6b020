"""A client that logs in as it must and then sends what no client of its own accord sends.

usage: bad_client.py PORT USER KEY CODE DEED [ARGUMENTS]
"""

import asyncio
import sys
import warnings

warnings.simplefilter("ignore")

import asyncssh  # noqa: E402
from asyncssh.channel import SSHClientChannel  # noqa: E402
from asyncssh.packet import Boolean, String, UInt32  # noqa: E402

CHANNEL_REQUEST = 98


def gone(connection):
    return connection._transport is None or connection._transport.is_closing()


class Person(asyncssh.SSHClient):
    def __init__(self, code):
        self.code = code

    def kbdint_auth_requested(self):
        return ""

    def kbdint_challenge_received(self, name, instructions, lang, prompts):
        return [self.code for _ in prompts]


async def log_in(port, user, key, code):
    connection, _ = await asyncssh.create_connection(
        lambda: Person(code),
        "127.0.0.1",
        int(port),
        username=user,
        client_keys=[key],
        known_hosts=None,
        preferred_auth="publickey,keyboard-interactive",
        agent_path=None,
        compression_algs=None,
        keepalive_interval=0,
    )
    print("logged in", flush=True)
    return connection


async def open_channel(connection, kind, *fields):
    loop = asyncio.get_event_loop()
    channel = SSHClientChannel(connection, loop, "utf-8", "strict", 2 << 20, 32768)
    await channel._open(kind, *fields)
    return channel


async def drained(connection):
    while not gone(connection) and connection._transport.get_write_buffer_size() > 1 << 20:
        await asyncio.sleep(0.01)


async def requests(connection, many, size):
    """So many requests of so many bytes, on a channel that never starts anything."""
    channel = await open_channel(connection, b"session")
    blob = b"x" * int(size)
    for number in range(int(many)):
        if gone(connection):
            break
        channel.send_packet(CHANNEL_REQUEST, String(b"hello@example.com"), Boolean(False), blob)
        if number % 100 == 0:
            await asyncio.sleep(0)
            await drained(connection)
    for _ in range(100):
        await asyncio.sleep(0.1)
        if gone(connection):
            print("ended")
            return
    print("goes on")


async def variables(connection, many, size):
    """The same with the environment of a program that is never started."""
    channel = await open_channel(connection, b"session")
    value = String(b"x" * int(size))
    for number in range(int(many)):
        if gone(connection):
            break
        name = String(b"LC_%d" % number)
        channel.send_packet(CHANNEL_REQUEST, String(b"env"), Boolean(False), name, value)
        if number % 100 == 0:
            await asyncio.sleep(0)
            await drained(connection)
    await asyncio.sleep(1)
    print("ended" if gone(connection) else "goes on")


async def channels(connection):
    """Channels of every kind that nobody asked for."""
    kinds = [
        (b"tun@openssh.com", UInt32(1), UInt32(0)),
        (b"auth-agent@openssh.com",),
        (b"x11", String(b"127.0.0.1"), UInt32(1)),
        (b"forwarded-tcpip", String(b"a"), UInt32(1), String(b"b"), UInt32(2)),
        (b"direct-streamlocal@openssh.com", String(b"/tmp/x"), String(b""), UInt32(0)),
        (b"example@example.com",),
    ]
    # Without any channel, this client would leave.
    _kept = await open_channel(connection, b"session")
    for kind, *fields in kinds:
        try:
            await open_channel(connection, kind, *fields)
            print("opened", kind.decode())
        except asyncssh.ChannelOpenError:
            print("refused", kind.decode())
    connection.close()


async def main():
    port, user, key, code, deed, *arguments = sys.argv[1:]
    connection = await log_in(port, user, key, code)
    deeds = {"requests": requests, "variables": variables, "channels": channels}
    try:
        await deeds[deed](connection, *arguments)
    except (AttributeError, OSError, asyncssh.ConnectionLost):
        # Gone in the middle of it.
        if not gone(connection):
            raise
        print("ended")


asyncio.run(main())
