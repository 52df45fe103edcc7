"""The client `httpx`: an app on httpx that reads `iter_bytes` and decodes each event as it arrives.

The request is the wire client's, header for header.
"""

import logging
from typing import Any

import httpcore
import httpx

from streamgauge.harness.drive.clients.library import LibraryClient
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.protocols import Answer
from streamgauge.harness.drive.reading.framing import decoder
from streamgauge.harness.drive.site import Site
from streamgauge.harness.record.observation import CONTENT


class _Transport(httpx.HTTPTransport):
    """httpx's own transport, on a pool with our backend. Its own `__init__` would make a TLS context needlessly."""

    def __init__(self, backend: Any, site: Site) -> None:
        self._pool = httpcore.ConnectionPool(
            site.endpoint.tls,
            max_keepalive_connections=0,  # `WireClient` keeps the connection instead
            network_backend=backend,
        )


class HttpxClient(LibraryClient):
    name = "httpx"

    def __init__(self, site: Site, *, fresh: bool = False) -> None:
        super().__init__(site, fresh=fresh)
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each request, and Locust would print that
        endpoint = site.endpoint
        self._url = f"{endpoint.origin}{endpoint.base}"
        self._http = httpx.Client(
            transport=_Transport(self._backend, site),
            timeout=None,  # noqa: S113 - `Deadlines` has our timeouts
            trust_env=False,
        )

    def _use(self, question: Question, attempt: Any) -> None:
        prompt, site = question.prompt, self._site
        protocol, answer, form = site.protocol, Answer(), site.request_format
        events = decoder(protocol.framing)
        request = self._http.build_request(
            form.method,
            f"{self._url}{form.path_for(prompt)}",
            content=None if form.content_type is None else form.encoded(prompt),
            headers=site.headers_for(prompt, question.last_id),
        )
        response = self._http.send(request, stream=True)
        try:
            if not response.is_success:
                response.read()
                return
            if not prompt.streamed:
                response.read()
                attempt.chunk_handed_on()
                return
            for event in (event for piece in response.iter_bytes() for event in events.feed(piece)):
                if protocol.meaning_of(event, answer).kind in CONTENT:
                    attempt.chunk_handed_on()
        finally:
            response.close()
            del response.stream  # breaks a reference cycle: the garbage collector is off during a run

    def close(self) -> None:
        self._http.close()
        super().close()
