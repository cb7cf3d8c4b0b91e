"""What keeps a browser from taking an answer of ours for anything but what it is."""

from __future__ import annotations

from twisted.web.http import Request

_POLICY = b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
"""Nothing is loaded from elsewhere, and nothing that stands within a page runs: https://www.w3.org/TR/CSP3/ ."""


def harden(request: Request) -> None:
    """Set the headers for any answer that does not come from a model."""
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    request.setHeader(b"Content-Security-Policy", _POLICY)
