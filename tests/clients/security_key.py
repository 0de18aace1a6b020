"""A client whose key is a FIDO security key (`sk-ssh-ed25519@openssh.com`), made in software.

usage: security_key.py public                          prints the public key
       security_key.py PORT USER CODE FLAGS COMMAND    logs in and runs a command

FLAGS are those of the authenticator (OpenSSH PROTOCOL.u2f): 1 it was touched, 4 its holder was
verified.
"""

import asyncio
import base64
import hashlib
import struct
import sys

import asyncssh
from asyncssh.public_key import SSHKeyPair
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ALGORITHM = b"sk-ssh-ed25519@openssh.com"
APPLICATION = b"ssh:"
KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"a security key").digest())


def string(value):
    return struct.pack(">I", len(value)) + value


def public():
    raw = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return string(ALGORITHM) + string(raw) + string(APPLICATION)


class SecurityKey(SSHKeyPair):
    """Signs as an authenticator does: over its own counter and flags beside the message."""

    def __init__(self, flags):
        super().__init__(ALGORITHM, ALGORITHM, (ALGORITHM,), (), public(), b"security key")
        self.flags = flags

    def sign(self, data):
        about = struct.pack(">BI", self.flags, 7)
        message = (
            hashlib.sha256(APPLICATION).digest() + about + hashlib.sha256(data).digest()
        )
        return string(ALGORITHM) + string(KEY.sign(message)) + about


class Person(asyncssh.SSHClient):
    def __init__(self, code):
        self.code = code

    def kbdint_auth_requested(self):
        return ""

    def kbdint_challenge_received(self, name, instructions, lang, prompts):
        return [self.code for _ in prompts]


async def main():
    port, user, code, flags, command = sys.argv[1:]
    connection, _ = await asyncssh.create_connection(
        lambda: Person(code),
        "127.0.0.1",
        int(port),
        username=user,
        client_keys=[SecurityKey(int(flags))],
        known_hosts=None,
        preferred_auth="publickey,keyboard-interactive",
        agent_path=None,
    )
    ran = await connection.run(command)
    print(ran.stdout, end="")
    print(ran.stderr, end="", file=sys.stderr)
    connection.close()
    sys.exit(ran.exit_status)


if sys.argv[1:] == ["public"]:
    print(ALGORITHM.decode(), base64.b64encode(public()).decode())
else:
    asyncio.run(main())
