"""Requests that two servers could read in two ways, and honest ones that look a little like them.

Sources: RFC 9112 §2.2, §3, §5, §6, §7.1, §11.2, and the literature on request smuggling.
"""

from __future__ import annotations


def request(
    *fields: bytes, line: bytes = b"POST /v1/chat/completions HTTP/1.1", host: bytes = b"Host: localhost\r\n"
) -> bytes:
    """Return the head of a request with these fields."""
    return b"".join([line, b"\r\n", host, *(field + b"\r\n" for field in fields), b"\r\n"])


GOOD_HEADS = (
    request(b"Content-Length: 14"),
    request(b"Transfer-Encoding: chunked"),
    request(b"transfer-encoding:CHUNKED"),
    request(b"Content-Length:14\t"),
    request(b"X-Empty:", b"X-Tabs: a\tb", b"X-Latin: \xe9"),
    request(b"!#$%&'*+-.^_`|~09Az: token"),
    request(line=b"OPTIONS /?http://x/ HTTP/1.1"),
    request(line=b'M-SEARCH //a//b/../c;d=%zz?{}|"<>^`\\[]!$&~ HTTP/1.1'),
    request(b"X-Any: " + bytes(code for code in range(0x20, 0x100) if code != 0x7F)),
    request(host=b"hOsT:localhost:8080\r\n"),
    request(host=b"Host: [::1]:8080\r\n"),
    request(host=b"Host: llama_swap.example\r\n"),
    request(line=b"GET / HTTP/1.0", host=b""),
)

_LINES = (
    b"POST / HTTP/1.2",
    b"POST / HTTP/2.0",
    b"POST / HTTP/1x1",
    b"POST / HTTP/1.1 ",
    b"POST  / HTTP/1.1",
    b"POST\t/ HTTP/1.1",
    b" POST / HTTP/1.1",
    b"POST / http/1.1",
    b"POST / HTTP/1.1\r",
    b"POST / HTTP/11",
    b"POST /",
    b"POST",
    b"PO(ST / HTTP/1.1",
    b"POST http://localhost/ HTTP/1.1",
    b"POST https://example.org/v1/models HTTP/1.1",
    b"POST @example.org/ HTTP/1.1",
    b"POST \\/ HTTP/1.1",
    b"POST ?a=b HTTP/1.1",
    b"CONNECT localhost:443 HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"POST /a b HTTP/1.1",
    b"POST /a\tb HTTP/1.1",
    b"POST /\x00 HTTP/1.1",
    b"POST /\x7f HTTP/1.1",
    b"POST /\xff HTTP/1.1",
    b"POST /#top HTTP/1.1",
)
_HOSTS = (
    b"",
    b"Host:\r\n",
    b"Host: localhost\r\nHost: localhost\r\n",
    b"Host: localhost\r\nhost: evil\r\n",
    b"Host: a b\r\n",
    b"Host: a/b\r\n",
    b"Host: user@localhost\r\n",
    b"Host: http://localhost\r\n",
    b"Host: localhost:\r\n",
    b"Host: localhost:99999999\r\n",
    b"Host: localhost:x\r\n",
    b"Host: localhost, localhost\r\n",
    b"Host: loc\x00alhost\r\n",
    b"Host: \xe9\r\n",
    b"Host : localhost\r\n",
)
_FIELDS = (
    (b"Content-Length: 14", b"Content-Length: 14"),
    (b"Content-Length: 14", b"content-length: 15"),
    (b"Content-Length: 14, 14",),
    (b"Content-Length: +14",),
    (b"Content-Length: -14",),
    (b"Content-Length: 0xe",),
    (b"Content-Length: 1_4",),
    (b"Content-Length: 14 14",),
    (b"Content-Length: 14.0",),
    (b"Content-Length:",),
    (b"Content-Length: \xb2",),
    (b"Content-Length: " + b"1" * 5000,),
    (b"Content-Length : 14",),
    (b"Content-Length\t: 14",),
    (b" Content-Length: 14",),
    (b"Content-Length: 14", b"Transfer-Encoding: chunked"),
    (b"Transfer-Encoding: chunked", b"Content-Length: 14"),
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    (b"Transfer-Encoding: chunked, chunked",),
    (b"Transfer-Encoding: chunked, identity",),
    (b"Transfer-Encoding: gzip, chunked",),
    (b"Transfer-Encoding: identity", b"Content-Length: 14"),
    (b"Transfer-Encoding: identity",),
    (b"Transfer-Encoding: xchunked",),
    (b"Transfer-Encoding: chunked;a=b",),
    (b'Transfer-Encoding: "chunked"',),
    (b"Transfer-Encoding: \x0bchunked",),
    (b"Transfer-Encoding: chunked\x00",),
    (b"Transfer-Encoding:",),
    (b"Transfer-Encoding : chunked",),
    (b"Transfer-Encoding:\r\n chunked",),
    (b"Transfer-Encoding\r\n: chunked",),
    (b"X: 1\r\n folded",),
    (b"X: 1\r\n\tTransfer-Encoding: chunked",),
    (b"X: a\rb",),
    (b"X: a\rTransfer-Encoding: chunked",),
    (b"X: a\nTransfer-Encoding: chunked",),
    (b"X: a\x00b",),
    (b"X: \x1b[31m",),
    (b"X: \x7f",),
    (b": 1",),
    (b"no colon",),
    (b"X Y: 1",),
    (b"X(Y): 1",),
    (b"X\xe9: 1",),
    (b"X\x00: 1",),
)

DOUBTFUL_HEADS = (
    *(request(line=line) for line in _LINES),
    *(request(host=host) for host in _HOSTS),
    *(request(*fields) for fields in _FIELDS),
    request(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0"),
    request(host=b"Host: a\r\nHost: b\r\n", line=b"GET / HTTP/1.0"),
)
"""Each is refused with 400, whatever follows it."""

DOUBTFUL_CHUNKS = (
    b"+e\r\n%b\r\n0\r\n\r\n",
    b"-e\r\n%b\r\n0\r\n\r\n",
    b"0xe\r\n%b\r\n0\r\n\r\n",
    b" e\r\n%b\r\n0\r\n\r\n",
    b"e \r\n%b\r\n0\r\n\r\n",
    b"0_e\r\n%b\r\n0\r\n\r\n",
    b"e\n%b\r\n0\r\n\r\n",
    b"e\r%b\r\n0\r\n\r\n",
    b"e;a\nb\r\n%b\r\n0\r\n\r\n",
    b"e;a\x00\r\n%b\r\n0\r\n\r\n",
    b"e\r\n%b\n0\r\n\r\n",
    b"e\r\n%bxx0\r\n\r\n",
    b"e\r\n%b0\r\n\r\n",
    b"d\r\n%b\r\n0\r\n\r\n",
    b"f\r\n%b\r\n0\r\n\r\n",
    b"10000000000000000e\r\n%b\r\n0\r\n\r\n",
    b"\r\n%b\r\n0\r\n\r\n",
    b"g\r\n%b\r\n0\r\n\r\n",
    b"e\r\n%b\r\n0\r\nX: 1\n\n\r\n\r\n",
    b"e\r\n%b\r\n0\r\n\n",
    b"e\r\n%b\r\n0\r\n \r\n\r\n",
    b"e\r\n%b\r\n0\r\nX : 1\r\n\r\n",
    b"e\r\n%b\r\n0\r\nX: 1\r\n folded\r\n\r\n",
    b"e\r\n%b\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
    b"e\r\n%b\r\n0\r\n\nX: 1\r\n\r\n",
)
"""Each is refused with 400, as the body of a request in chunks; %b is a body of 14 bytes."""
BODY = b'{"model": "a"}'
