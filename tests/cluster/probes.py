"""Ask a server that is starting whether it serves a path yet."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Callable

from tests.cluster.certificates import Authority, KeyPair

REQUEST_SECONDS = 5.0

# Asks for a path; None when the server serves it, else what it said instead.
Getter = Callable[[str], str | None]


def getter(url: str, tls: ssl.SSLContext | None) -> Getter:
    # No proxy that the environment names has anything to do with a server of this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls))

    def get(path: str) -> str | None:
        try:
            with opener.open(url + path, timeout=REQUEST_SECONDS):
                return None
        except urllib.error.HTTPError as error:
            return f"{error}: {error.read().decode(errors='replace').strip()}"
        except OSError as error:
            return str(error)

    return get


def client_tls(authority: Authority, client: KeyPair) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.path))
    context.load_cert_chain(client.public, client.private)
    return context
