"""A client that proves on one connection, in turn, whatever it is told to, of whomever it is told.

usage: in_turn.py PORT SOURCE STEP...

A step is key=USER=FILE, code=USER=CODE (asks to be asked, and answers), ask=USER (asks to be asked,
and does not answer) or answer=CODE (to whatever was asked before). Says what became of each; once
it is in, who it is.
"""

import asyncio
import sys
import warnings

warnings.simplefilter("ignore")

import asyncssh  # noqa: E402
from asyncssh.auth import lookup_client_auth  # noqa: E402
from asyncssh.connection import SSHClientConnection  # noqa: E402
from asyncssh.packet import String, UInt32  # noqa: E402

INFO_RESPONSE = 61
PORT, SOURCE, *STEPS = sys.argv[1:]
STEPS = [step.split("=") for step in STEPS]
NOW = []


def next_step(connection):
    """In place of the library's own choice of a method, which is called after each failure."""
    if NOW:
        print("not yet:", NOW[0])
    if connection._auth:
        connection._auth.cancel()
        connection._auth = None
    NOW[:] = STEPS.pop(0) if STEPS else []
    if not NOW:
        connection._force_close(asyncssh.PermissionDenied("nothing left to try"))
    elif NOW[0] == "answer":
        answer(connection, NOW[1])
    else:
        connection._username = NOW[1]
        method = b"publickey" if NOW[0] == "key" else b"keyboard-interactive"
        connection._auth = lookup_client_auth(connection, method)


def answer(connection, code):
    connection.send_userauth_packet(
        INFO_RESPONSE, UInt32(1), String(code), trivial=False
    )


SSHClientConnection.try_next_auth = next_step


class Person(asyncssh.SSHClient):
    def public_key_auth_requested(self):
        return NOW[2]

    def kbdint_auth_requested(self):
        return ""

    def kbdint_challenge_received(self, name, instructions, lang, prompts):
        # Nothing goes to the next step, without an answer.
        return [NOW[2]] if NOW[0] == "code" else None


async def main():
    try:
        connection, _ = await asyncio.wait_for(
            asyncssh.create_connection(
                Person,
                "127.0.0.1",
                int(PORT),
                local_addr=(SOURCE, 0),
                username="nobody",
                known_hosts=None,
                agent_path=None,
                client_keys=None,
            ),
            20,
        )
    except (asyncssh.Error, OSError, asyncio.TimeoutError) as error:
        print("out:", type(error).__name__)
        return
    ran = await connection.run("whoami --json")
    print("in:", ran.stdout.strip())
    connection.close()


asyncio.run(main())
