"""Health and Prometheus metrics over HTTP, on this machine alone."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from lgg_runtime.errors import LggError
from lgg_runtime.pacs.admission import REJECTIONS
from lgg_runtime.pacs.config import Http
from lgg_runtime.pacs.log import LOG
from lgg_runtime.pacs.ports import take_connection, unusable
from lgg_runtime.pacs.state import DONE, FAILED, REFUSED
from lgg_runtime.pacs.tally import Tally

Status = Callable[[], dict[str, Any]]
# Counters of the tally: name, what it counts, its labels.
_COUNTERS = {
    "objects": ("Objects received, by outcome.", ("outcome",)),
    "rejected_associations": ("Associations rejected, by reason.", ("reason",)),
    "cut_off": ("Connections cut off, by reason.", ("reason",)),
    "studies": ("Studies worked on, by outcome.", ("outcome",)),
    "deliveries": ("Attempts to deliver.", ("destination", "outcome")),
}
# Told from 0 on: of a counter that appears with its first event, Prometheus sees no increase.
_FROM_ZERO = (
    *(("objects", one) for one in ("stored", "conflict", "0x0117", "0xA700", "0xA900", "0xC000")),
    *(("rejected_associations", one) for one in REJECTIONS),
    *(("cut_off", one) for one in ("stalled", "TLS", "no PDU", "pdu length", "unanswered")),
    *(("cut_off", one) for one in ("too many connections", "no request", "no message")),
    *(("studies", one) for one in (DONE, REFUSED, FAILED)),
)


class NodeCollector:
    """Gauges out of the database and counters since the start; no label names a study."""

    def __init__(
        self,
        status: Status,
        tally: Tally,
        free_bytes: Callable[[], int],
        ends: Mapping[str, float],
        why_ill: Callable[[], list[str]],
    ):
        """ends: of certificates, as of `read_ends`."""
        self._status, self._tally, self._free_bytes = status, tally, free_bytes
        self._ends, self._why_ill = ends, why_ill

    def collect(self) -> Iterator[Any]:
        status = self._status()
        studies = GaugeMetricFamily("lgg_node_studies", "Studies by state.", labels=["state"])
        for state, count in status["studies"].items():
            studies.add_metric([state], count)
        yield studies
        deliveries = GaugeMetricFamily(
            "lgg_node_deliveries", "Deliveries by state.", labels=["destination", "state"]
        )
        for name, found in status["destinations"].items():
            for state, count in found.items():
                if isinstance(count, int):
                    deliveries.add_metric([name, state], count)
        yield deliveries
        seconds = GaugeMetricFamily(
            "lgg_node_seconds", "Median times of the last results.", labels=["span"]
        )
        for span, values in status["seconds"].items():
            seconds.add_metric([span], values["median"])
        yield seconds
        yield GaugeMetricFamily(
            "lgg_node_results", "Results on record.", value=status["results"]["total"]
        )
        yield GaugeMetricFamily(
            "lgg_node_spool_bytes", "Images on the disk.", value=status["images"]["bytes"]
        )
        yield GaugeMetricFamily(
            "lgg_node_free_bytes", "Free disk under the spool.", value=self._free_bytes()
        )
        yield GaugeMetricFamily(
            "lgg_node_ill", "Reasons of ill health, as /health gives them.", len(self._why_ill())
        )
        ends = GaugeMetricFamily(
            "lgg_node_certificate_end_seconds",
            "When a certificate of the node is over, since 1970.",
            labels=["of"],
        )
        for part, end in self._ends.items():
            ends.add_metric([part], end)
        yield ends
        counts: dict[tuple[str, ...], int] = dict.fromkeys(_FROM_ZERO, 0)
        for name in status["destinations"]:
            counts |= {("deliveries", name, outcome): 0 for outcome in ("sent", "failed")}
        counts |= self._tally.read()
        for name, (said, labels) in _COUNTERS.items():
            family = CounterMetricFamily(f"lgg_node_{name}", said, labels=labels)
            for (counted, *values), count in counts.items():
                if counted == name:
                    family.add_metric(values, count)
            yield family


class _Server(ThreadingHTTPServer):
    """Of IPv4 or IPv6, as the address is."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]):
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        return take_connection(self.socket)

    def handle_error(self, request: Any, client_address: Any) -> None:
        LOG.warning("a request for health or metrics broke off")


class HealthServer:
    """Answers GET and HEAD of /health with 200 or 503 and the reasons, and of /metrics; anything
    else is 404.
    """

    def __init__(self, http: Http, collector: NodeCollector, why_ill: Callable[[], list[str]]):
        """Raises as `unusable` for a port that is taken."""
        registry = CollectorRegistry()
        registry.register(collector)

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                status, kind, body = 404, "text/plain", b"not found\n"
                try:
                    asked = urlsplit(self.path).path
                    if asked == "/health":
                        reasons = why_ill()
                        status, kind = (503 if reasons else 200), "application/json"
                        said = {"healthy": not reasons, "reasons": reasons}
                        body = json.dumps(said).encode() + b"\n"
                    elif asked == "/metrics":
                        status, kind, body = 200, CONTENT_TYPE_LATEST, generate_latest(registry)
                except LggError as error:
                    status, body = 503, f"{error}\n".encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                """Requests are not logged."""

        try:
            self._server = _Server((http.address, http.port), Handler)
        except OSError as error:
            raise unusable(f"http: port {http.port}", http.address, error) from error
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
