"""Which hosts are this machine, and no other.  Pure.

There are three questions, whose answers differ on purpose: whether a server listens for this machine only, whether a
request stays on it, and whether a browser's request is for it.  All three take a doubtful host for another machine:
`127.1`, `::ffff:127.0.0.1`, `127.foo`.
"""

from __future__ import annotations

import re

_IPV4 = r"127(?:\.[0-9]{1,3}){3}"
_ADDRESS = re.compile(rf"{_IPV4}|::1")
_BROWSERS_NAME = re.compile(rf"(?:.+\.)?localhost|{_IPV4}|\[::1\]")

USUAL = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})  # noqa: S104 -- whoever asks there is at home
"""The usual spellings of this machine's address; with one port, they may all lead to the same server."""


def is_loopback_address(host: str) -> bool:
    """Whether `host` is an address of the loopback device, so that only this machine reaches who listens there.

    Names are not, not even `localhost`; nor is `0.0.0.0`, where other machines reach a server as well.
    """
    return _ADDRESS.fullmatch(host) is not None


def leads_to_this_machine(host: str) -> bool:
    """Whether a request to `host` can only reach this machine; `host` is in lower case, without brackets.

    That includes `0.0.0.0` and `::`, which as a destination mean this machine, and `localhost`.  Names below
    `localhost` are not included: where they lead depends on the system's resolver.
    """
    return host in USUAL or is_loopback_address(host)


def is_loopback_to_browsers(host: str) -> bool:
    """Whether a browser takes `host`, of a page or a request, for this machine.

    `http.syntax.host_named` returns such hosts.  Browsers resolve neither `localhost` nor names below it, so no foreign
    server can be behind these (https://www.w3.org/TR/secure-contexts/#is-origin-trustworthy).  `0.0.0.0` is not
    included, though requests for it come here.
    """
    return _BROWSERS_NAME.fullmatch(host) is not None
