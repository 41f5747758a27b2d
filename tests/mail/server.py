"""A mail server over TLS that wants a password, by aiosmtpd.

    server.py CERTIFICATE KEY USER PASSWORD

Prints its port, and then a line of JSON for each message that it has taken. It takes none to an
address of refused.example, and the first to late.example on the second attempt only.
"""

import asyncio
import email
import email.policy
import json
import logging
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

CERTIFICATE, KEY, USER, PASSWORD = sys.argv[1:]


def authenticate(server, session, envelope, mechanism, data):
    is_right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=is_right, handled=False)


class Kept:
    def __init__(self):
        self.attempts = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.endswith("@refused.example"):
            return "550 no such mailbox"
        if address.endswith("@late.example"):
            self.attempts += 1
            if self.attempts == 1:
                return "451 come again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        told = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": {name.lower(): str(value) for name, value in message.items()},
            "body": message.get_content(),
            "defects": [str(defect) for defect in message.defects],
        }
        print(json.dumps(told), flush=True)
        return "250 OK"


async def main():
    # It warns of what a test does not mind.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE, KEY)
    kept = Kept()

    def connected():
        return SMTP(
            kept,
            authenticator=authenticate,
            auth_required=True,
            auth_require_tls=False,
            hostname="mail.example",
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(connected, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
