"""A target with the right host key that does not behave; the command it is given says how.

usage: bad_target.py PORT HOST_KEY
"""

import asyncio
import sys
import warnings

warnings.simplefilter("ignore")

import asyncssh  # noqa: E402
from asyncssh.channel import SSHServerChannel  # noqa: E402
from asyncssh.packet import String, UInt32  # noqa: E402

OPEN, OPEN_FAILURE = 90, 92

answered = SSHServerChannel._process_exec_request


def exec_request(channel, packet):
    before = packet.get_remaining_payload()
    if b"withhold" in before:
        print("runs", before, flush=True)
        return None
    return answered(channel, packet)


SSHServerChannel._process_exec_request = exec_request


def gone(connection):
    return connection._transport is None or connection._transport.is_closing()


class Server(asyncssh.SSHServer):
    def connection_made(self, connection):
        self.connection = connection

    def begin_auth(self, username):
        return False

    def session_requested(self):
        return Program(self.connection)


class Program(asyncssh.SSHServerSession):
    def __init__(self, connection):
        self.connection = connection
        self.command = ""

    def connection_made(self, channel):
        self.channel = channel

    def pty_requested(self, *arguments):
        return True

    def eof_received(self):
        # It goes on writing.
        return True

    def shell_requested(self):
        return True

    def exec_requested(self, command):
        self.command = command
        return True

    def session_started(self):
        asyncio.get_event_loop().create_task(self.run())

    async def run(self):
        connection, channel = self.connection, self.channel
        if self.command == "lose":
            # Says of a channel that is open that it was not opened.
            channel.write("losing\n")
            await asyncio.sleep(1)
            text = UInt32(channel._send_chan) + UInt32(1) + String(b"x") + String(b"")
            connection.send_packet(OPEN_FAILURE, text)
        elif self.command == "tick":
            while not gone(connection):
                channel.write("tick\n")
                await asyncio.sleep(0.3)
        elif self.command == "open":
            channel.write("opening\n")
            for number in range(100_000):
                if gone(connection):
                    return
                kind = String(b"auth-agent@openssh.com")
                sizes = UInt32(100_000 + number) + UInt32(1 << 20) + UInt32(32768)
                connection.send_packet(OPEN, kind + sizes)
                if number % 100 == 0:
                    await asyncio.sleep(0.01)


async def main():
    port, key = sys.argv[1:]
    await asyncssh.create_server(
        Server, "127.0.0.1", int(port), server_host_keys=[key], compression_algs=None
    )
    print("listens", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
