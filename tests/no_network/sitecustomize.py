# SPDX-License-Identifier: Apache-2.0
"""Refuses connections that leave this machine, in every Python process that the tests start.

`tests/conftest.py` puts this folder into PYTHONPATH, where Python finds a module of this name
before it runs anything else: `iv` needs no network, so neither its commands nor their workers may
use one.
"""

import sys

_HERE = ("127.", "::1", "localhost")
# Arguments of each: the socket first, or the host.
_PLACES = {"socket.connect": 1, "socket.sendto": 1, "socket.getaddrinfo": 0}


def forbid(event, arguments):
    """Raise RuntimeError where an audited call names a host that is not this machine."""
    if event not in _PLACES:
        return
    address = arguments[_PLACES[event]]
    host = address[0] if isinstance(address, tuple) else address if _PLACES[event] == 0 else None
    host = host.decode() if isinstance(host, bytes) else host
    if host and not host.startswith(_HERE):
        raise RuntimeError(f"{event}: {host}: the tests, and `iv` itself, need no network")


sys.addaudithook(forbid)
