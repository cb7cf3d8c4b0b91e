"""Which hosts are this machine, and no other.  Pure.

There are three questions, whose answers differ on purpose: where somebody listens, where a request goes, and what a
browser says that it is for.  What is in doubt is another machine to all three: `127.1`, `::ffff:127.0.0.1`, `127.foo`.
"""

from __future__ import annotations

import re

_IPV4 = r"127(?:\.[0-9]{1,3}){3}"
_ADDRESS = re.compile(rf"{_IPV4}|::1")
_BROWSERS_NAME = re.compile(rf"(?:.+\.)?localhost|{_IPV4}|\[::1\]")

USUAL = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})  # noqa: S104 -- whoever asks there is at home
"""What the address of a server on this machine is written as; with the same port, each may lead to the same server."""


def is_loopback_address(host: str) -> bool:
    """Whether `host` is an address of the loopback device: who listens there is heard by this machine alone.

    Names are none, not even `localhost`, nor is `0.0.0.0`, where others are heard as well.
    """
    return _ADDRESS.fullmatch(host) is not None


def leads_to_this_machine(host: str) -> bool:
    """Whether who answers at `host` can only be a program on this machine; `host` is in lower case, without brackets.

    `0.0.0.0` and `::` are such places: a request for every interface stays at home.  So is `localhost`, but for names
    below it, it depends on the system where they lead.
    """
    return host in USUAL or is_loopback_address(host)


def is_loopback_to_browsers(host: str) -> bool:
    """Whether a page of `host`, or a request for it, is of this machine; `host` is as `syntax.host_named` returns it.

    Browsers look up neither `localhost` nor what is below it, so no foreign name can be behind these
    (https://www.w3.org/TR/secure-contexts/#is-origin-trustworthy).  `0.0.0.0` is not among them: it is no name of this
    machine, though requests for it come here.
    """
    return _BROWSERS_NAME.fullmatch(host) is not None
