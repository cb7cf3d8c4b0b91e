"""The syntax of tokens, hosts and origins, for the rooms that must read them in the same way.  Pure.

There are two of a host: all that RFC 3986 allows, which a request may carry, and the stricter one of names and
addresses, on which a decision may rest.
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
"""HOST or HOST:PORT as in RFC 3986 §3.2, without userinfo and IPvFuture."""

_NAMED = rf"(?P<host>{_IPV6}|[a-z0-9._-]+?)\.?{_PORT}"
_AUTHORITY = re.compile(_NAMED)
_ORIGIN = re.compile(rf"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>{_NAMED})")


class Origin(NamedTuple):
    """The origin of a page (RFC 6454 §6), and its host alone."""

    scheme: str
    authority: str
    host: str


def host_named(authority: str) -> str | None:
    """Return the host of HOST or HOST:PORT, in lower case, without a trailing dot; None: it is no valid host."""
    match = _AUTHORITY.fullmatch(authority.lower())
    return match["host"] if match else None


def origin_named(text: str) -> Origin | None:
    """Return the parts of an origin, in lower case; None: it is `null`, or malformed."""
    match = _ORIGIN.fullmatch(text.lower())
    return Origin(match["scheme"], match["authority"], match["host"]) if match else None
