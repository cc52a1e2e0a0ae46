"""node.trust.fetch: HTTP as servers speak it, and as they don't."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from node.trust.fetch import REDIRECTS_MAX, FetchFailed, HttpFetch

FETCH = HttpFetch(60.0)


@asynccontextmanager
async def server(
    answer: bytes | Callable[[bytes], bytes], *, ends: bool = True
) -> AsyncIterator[str]:
    """Answers every request with these octets; its URL."""
    held = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(head) if callable(answer) else answer)
        await writer.drain()
        if not ends:
            await held.wait()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        held.set()
        listening.close()
        await listening.wait_closed()


async def failed(url: str, fetch: HttpFetch = FETCH, octets_max: int = 1000) -> str:
    with pytest.raises(FetchFailed) as caught:
        await fetch.fetch(url, octets_max)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(url[:8])
    return str(caught.value)


class Pages(BaseHTTPRequestHandler):
    """A server that isn't ours."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._say(f"{self.path} {self.headers['Host']}".encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._say(self.headers["Content-Type"].encode() + b" " + body)

    def _say(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def pages() -> Iterator[str]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


async def test_get_and_post() -> None:
    with pages() as url:
        host = url.removeprefix("http://")
        assert await FETCH.fetch(f"{url}/a/b?c=d&e", 1000) == f"/a/b?c=d&e {host}".encode()
        assert await FETCH.fetch(url, 1000) == f"/ {host}".encode()
        assert await FETCH.fetch(url, 1000, b"body", "application/x") == b"application/x body"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlist",
        b"HTTP/1.0 200 OK\r\n\r\nlist",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nli\r\n2\r\nst\r\n0\r\n\r\n",
    ],
)
async def test_each_way_to_say_where_the_end_is(answer: bytes) -> None:
    async with server(answer) as url:
        assert await FETCH.fetch(url, 4) == b"list"
        assert "more than 3 octets" in await failed(url, octets_max=3)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "status 404"),
        (b"HTTP/1.1 503 Away\r\n\r\n", "status 503"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlist", "without sending"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nli\r\n2\r\ns", "without"),
        (b"SSH-2.0-x\r\n\r\n", ""),
        (b"", ""),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", ""),
    ],
)
async def test_what_is_no_whole_answer(answer: bytes, said: str) -> None:
    async with server(answer) as url:
        assert said in await failed(url)


async def test_nothing_takes_longer_than_it_may() -> None:
    async with server(b"HTTP/1.1 200 OK\r\n\r\nslow", ends=False) as url:
        assert await failed(url, HttpFetch(0.05)) == f"{url}: no answer in 0.05 s"


async def test_redirects_are_followed_a_few_times() -> None:
    hops = 0

    def answer(head: bytes) -> bytes:
        nonlocal hops
        if b"GET /end " in head:
            return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        hops += 1
        where = b"/end" if hops == 2 else b"/more"
        return b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n" % where

    async with server(answer) as url:
        assert await FETCH.fetch(url, 10) == b"ok"
        hops = 2
        assert f"more than {REDIRECTS_MAX} times" in await failed(url)
    for where in (b"file:///etc/passwd", b"ftp://127.0.0.1/", b"//", b"gopher://x"):
        answered = b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n" % where
        async with server(answered) as url:
            with pytest.raises(FetchFailed):
                await FETCH.fetch(url, 10)


@pytest.mark.parametrize(
    "url",
    [
        "ldap://127.0.0.1/",
        "file:///etc/passwd",
        "http://",
        "http://[::1",
        "http://ä/",
        "x",
        "",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:x/",
    ],
)
async def test_what_is_no_url_of_http(url: str) -> None:
    with pytest.raises(FetchFailed):
        await FETCH.fetch(url, 10)


async def test_nobody_there() -> None:
    listening = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    listening.close()
    await listening.wait_closed()
    assert await failed(f"http://127.0.0.1:{port}/")


async def test_a_server_whose_certificate_nobody_knows() -> None:
    async with server(b"") as url:
        assert await failed(url.replace("http:", "https:"), HttpFetch(1.0))


async def test_a_url_can_t_smuggle_a_header() -> None:
    seen: list[bytes] = []

    def answer(head: bytes) -> bytes:
        seen.append(head)
        return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    async with server(answer) as url:
        await FETCH.fetch(f"{url}/a b\r\nX-Evil: 1", 10)
    (head,) = seen
    assert b"\r\nX-Evil" not in head
