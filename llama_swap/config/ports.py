"""Where each model's server listens: base URLs, and the assignment of `${PORT}`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from functools import lru_cache
from urllib.parse import urlsplit

from llama_swap.config.masking import masked_text
from llama_swap.net.loopback import USUAL

MOST = 65535


def assign_ports(ids: Iterable[str], start: int, taken: Set[int], kept: Mapping[str, int]) -> dict[str, int]:
    """Return a port for each id: that of `kept`, or else the next free one from `start` on, in the order of the ids.

    Ports in `taken` are not assigned.  Ids for which no port is left are not in the result.
    """
    wanted = sorted(ids)
    ports = {name: kept[name] for name in wanted if name in kept and kept[name] not in taken}
    reserved = taken | set(kept.values())
    free = (port for port in range(start, MOST + 1) if port not in reserved)
    return ports | dict(zip([name for name in wanted if name not in ports], free, strict=False))


def base_url(text: str) -> str:
    """Return `text` as a base URL without a trailing slash.

    @raise ValueError: it is not a base URL; the message says why, and continues a sentence that begins with the key.
    """
    if any(not "!" <= character <= "~" for character in text):
        raise ValueError(f"is not a URL: {masked_text(text)!r} contains a blank or a character outside ASCII")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError(f"has no usable port: write a number from 1 to {MOST}, or ${{PORT}}, after the host") from None
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ValueError(f"must be a URL such as http://127.0.0.1:9001, not {masked_text(text)!r}")
    if port == 0 or url.netloc.endswith(":"):
        raise ValueError(f"has no usable port: write a number from 1 to {MOST}, or ${{PORT}}, after the host")
    if url.query or url.fragment or url.username is not None:
        raise ValueError("must be a base URL: no user, no `?` and no `#`")
    if url.scheme == "https" and (why := _unfit_for_tls(url.hostname)):
        remedy = "write a name of letters, digits, dots and hyphens, the IP address, or http://"
        host = masked_text(url.hostname)
        raise ValueError(f"has a host that https cannot be spoken with, {host!r} ({why}); {remedy}")
    return text.rstrip("/")


def _unfit_for_tls(host: str) -> str | None:
    """Return why `host` is not a valid name for TLS (IDNA, RFC 5891), or None if it is."""
    import idna  # large; only https needs it

    try:
        if ":" not in host:  # else it is an IPv6 address
            idna.encode(host)
    except UnicodeError as error:
        return str(error).rstrip(".")
    return None


@lru_cache(maxsize=4096)  # a reload asks for those of all models, most of which it has asked for before
def address_of(url: str) -> tuple[str, int]:
    """Return host and port of a base URL; the usual names of this machine's loopback all become 127.0.0.1."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return ("127.0.0.1" if host in USUAL else host, port)


def port_of(text: str) -> int | None:
    """Return the port in a URL, or None if it has none or is not valid."""
    try:
        return urlsplit(text).port
    except ValueError:
        return None
