"""HTTP for CRLs and OCSP: one request, one bounded answer, within one time limit.

Rules: only URLs out of the configuration or out of a certificate that a trusted authority has
signed come here. Redirects are followed a few times, to HTTP and HTTPS only. What isn't a whole
answer with status 200 is a failure, and one line says why. RFC 9110, RFC 9112; RFC 5280 4.2.1.13;
RFC 6960 A.
"""

import asyncio
import ssl
import urllib.parse
from typing import Protocol

import h11
import msgspec

REDIRECTS_MAX = 3
_READ_OCTETS = 65_536
_MOVED = (301, 302, 303, 307, 308)


class FetchFailed(Exception):
    """No answer, or none that is any use."""


class Fetch(Protocol):
    """Implementers: `HttpFetch`; tests have their own."""

    async def fetch(
        self, url: str, octets_max: int, body: bytes = b"", content_type: str = ""
    ) -> bytes:
        """What is at `url`; with a `body`, what comes of a POST. Raises FetchFailed."""
        ...


class _Target(msgspec.Struct, frozen=True):
    host: str
    port: int
    tls: bool
    path: str
    named: str
    """As the Host field has it."""


class HttpFetch:
    """Implements `Fetch` over TCP."""

    def __init__(self, limit_s: float) -> None:
        """`limit_s`: for one answer, redirects included."""
        self._limit_s = limit_s

    async def fetch(
        self, url: str, octets_max: int, body: bytes = b"", content_type: str = ""
    ) -> bytes:
        """See `Fetch.fetch`."""
        try:
            async with asyncio.timeout(self._limit_s):
                for _ in range(1 + REDIRECTS_MAX):
                    answer, moved = await _one(_target(url), octets_max, body, content_type)
                    if not moved:
                        return answer
                    url = urllib.parse.urljoin(url, moved)
        except TimeoutError:
            raise FetchFailed(f"{url}: no answer in {self._limit_s:g} s") from None
        except (OSError, ValueError, h11.ProtocolError) as error:
            raise FetchFailed(f"{url}: {str(error) or type(error).__name__}") from None
        raise FetchFailed(f"{url}: redirected more than {REDIRECTS_MAX} times")


def _target(url: str) -> _Target:
    """Raises ValueError."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host or not url.isascii():
        raise ValueError("no URL of HTTP")
    tls = parts.scheme == "https"
    path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        path += "?" + urllib.parse.quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    port = parts.port or (443 if tls else 80)
    return _Target(host, port, tls, path, parts.netloc.rpartition("@")[2])


async def _one(
    target: _Target, octets_max: int, body: bytes, content_type: str
) -> tuple[bytes, str]:
    """(the answer's content, "") or (b"", where it is instead)."""
    context = ssl.create_default_context() if target.tls else None
    reader, writer = await asyncio.open_connection(target.host, target.port, ssl=context)
    try:
        connection = h11.Connection(our_role=h11.CLIENT)
        headers = [("Host", target.named), ("Connection", "close"), ("Accept-Encoding", "identity")]
        if body:
            headers += [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        method = "POST" if body else "GET"
        request = h11.Request(method=method, target=target.path, headers=headers)
        octets = [connection.send(request)]
        if body:
            octets.append(connection.send(h11.Data(data=body)))
        octets.append(connection.send(h11.EndOfMessage()))
        writer.write(b"".join(part for part in octets if part))
        await writer.drain()
        return await _read(connection, reader, octets_max)
    finally:
        writer.close()


async def _read(
    connection: h11.Connection, reader: asyncio.StreamReader, octets_max: int
) -> tuple[bytes, str]:
    found = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ_OCTETS))
        elif isinstance(event, h11.Response):
            if event.status_code in _MOVED:
                return b"", dict(event.headers).get(b"location", b"").decode("ascii") or "?"
            if event.status_code != 200:
                raise ValueError(f"status {event.status_code}")
        elif isinstance(event, h11.Data):
            found += event.data
            if len(found) > octets_max:
                raise ValueError(f"more than {octets_max} octets")
        elif isinstance(event, h11.EndOfMessage):
            return bytes(found), ""
        elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
            raise ValueError("closed before its end")
