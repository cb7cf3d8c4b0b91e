"""How the web spells tokens, hosts and origins, which more than one room must read in the same way.  Pure.

A host is read twice: as anything that RFC 3986 lets stand there, which is what a request may carry, and as what a host
can be called, which is what a decision may rest upon.
"""

from __future__ import annotations

import re
from typing import NamedTuple

TCHAR = r"[!#$%&'*+.^_`|~0-9A-Za-z-]"
TOKEN = TCHAR + "+"
"""The name of a method, of a header, of a parameter (RFC 9110 §5.6.2)."""

_IPV6 = r"\[[0-9A-Fa-f:.]+\]"
_PORT = r"(?::[0-9]{1,5})?"
AUTHORITY = rf"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|{_IPV6}){_PORT}"
"""HOST or HOST:PORT, as RFC 3986 §3.2 allows it, but for users and addresses of the future."""

_NAMED = rf"(?P<host>{_IPV6}|[a-z0-9._-]+?)\.?{_PORT}"
_AUTHORITY = re.compile(_NAMED)
_ORIGIN = re.compile(rf"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>{_NAMED})")


class Origin(NamedTuple):
    """What a page is known by (RFC 6454 §6), and the name of its host."""

    scheme: str
    authority: str
    host: str


def host_named(authority: str) -> str | None:
    """Return the host of HOST or HOST:PORT, in lower case, without a dot at its end; None: nothing is called so."""
    match = _AUTHORITY.fullmatch(authority.lower())
    return match["host"] if match else None


def origin_named(text: str) -> Origin | None:
    """Return the parts of an origin, in lower case; None: it is `null`, or malformed."""
    match = _ORIGIN.fullmatch(text.lower())
    return Origin(match["scheme"], match["authority"], match["host"]) if match else None
