"""A real SMTP server for tests: says its port, then every mail it takes, as one JSON object per line on standard output.

smtp_server.py [--port N] [--starttls DIRECTORY] [--user USER PASSWORD] [--busy N]
--starttls: with a certificate of its own making, DIRECTORY/cert.pem.
--busy N: the first N recipients are refused for the moment (451).
Ends with its standard input.
"""
import argparse
import asyncio
import json
import logging
import ssl
import subprocess
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult

options = argparse.ArgumentParser()
options.add_argument('--port', type=int, default=0)
options.add_argument('--starttls')
options.add_argument('--user', nargs=2)
options.add_argument('--busy', type=int, default=0)
given = options.parse_args()
warnings.simplefilter('ignore')
logging.disable()  # clients that break off are part of the tests


def say(**what):
    print(json.dumps(what), flush=True)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if given.busy > 0:
            given.busy -= 1
            say(refused=address)
            return '451 try again'
        envelope.rcpt_tos.append(address)
        return '250 OK'

    async def handle_DATA(self, server, session, envelope):
        say(sender=envelope.mail_from, to=envelope.rcpt_tos, text=envelope.content.decode('ascii'),
            encrypted=session.ssl is not None, user=session.auth_data)
        return '250 OK'


def authenticate(server, session, envelope, mechanism, data):
    login = [data.login.decode(), data.password.decode()]
    return AuthResult(success=login == given.user, handled=False, auth_data=login[0])


async def main():
    context = None
    if given.starttls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate, key = given.starttls + '/cert.pem', given.starttls + '/key.pem'
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', certificate,
                        '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'],
                       check=True, stderr=subprocess.DEVNULL)
        context.load_cert_chain(certificate, key)

    def session():
        return SMTP(Handler(), hostname='localhost', tls_context=context, require_starttls=bool(context),
                    authenticator=authenticate if given.user else None, auth_required=bool(given.user))

    server = await asyncio.get_running_loop().create_server(session, '127.0.0.1', given.port)
    say(port=server.sockets[0].getsockname()[1])
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
