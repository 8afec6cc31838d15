"""The command as a process: health and metrics, status, a clean end, silence about patients."""

from __future__ import annotations

import errno
import http.client
import json
import logging
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")
pytest.importorskip("prometheus_client")

from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from lgg_runtime.errors import MissingExtraError, ResourceError, UsageError
from lgg_runtime.pacs.cli import command
from lgg_runtime.pacs.config import EXAMPLE, Http, load_config
from lgg_runtime.pacs.health import HealthServer, NodeCollector
from lgg_runtime.pacs.log import LOG
from lgg_runtime.pacs.node import run_node
from lgg_runtime.pacs.outbox import forget_orphans
from lgg_runtime.pacs.ports import unusable
from lgg_runtime.pacs.spool import DATABASE
from lgg_runtime.pacs.state import State
from lgg_runtime.pacs.tally import Tally
from stand_ins.node_process import NodeProcess
from stand_ins.pacs import PATIENT, Archive, draw_studies, send_study, write_config
from stand_ins.ports import free_port

STATUS = {
    "studies": {"done": 3, "held": 1},
    "images": {"images": 9, "bytes": 1000, "conflicts": 0},
    "destinations": {"pacs": {"waiting": 2, "sent": 1, "last_failure": "no answer"}},
    "results": {"total": 3},
    "seconds": {"made": {"median": 1.5, "slowest": 2.0}},
}


@pytest.fixture
def serve() -> Iterator[Callable[[list[str]], str]]:
    servers: list[HealthServer] = []

    def start(reasons: list[str]) -> str:
        tally = Tally()
        tally.add("objects", "stored")
        tally.add("studies", "done")
        tally.add("deliveries", "pacs", "sent")
        collector = NodeCollector(
            lambda: STATUS, tally, lambda: 5, {"listen": 7.0}, lambda: reasons
        )
        servers.append(HealthServer(Http(port=free_port()), collector, lambda: reasons))
        return f"http://127.0.0.1:{servers[-1].port}"

    yield start
    for one in servers:
        one.stop()


def fetch(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as done:
            return done.status, done.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_metrics_are_read_by_prometheus(serve: Callable[[list[str]], str]) -> None:
    status, text = fetch(serve([]) + "/metrics")
    assert status == 200
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["lgg_node_studies", "held"] == 1
    assert values["lgg_node_deliveries", "pacs", "waiting"] == 2
    counted = {key[1:] for key, value in values.items() if key[0].endswith("_total") and value}
    assert counted == {("stored",), ("done",), ("pacs", "sent")}
    assert values["lgg_node_deliveries_total", "pacs", "failed"] == 0  # told before the first
    assert values["lgg_node_seconds", "made"] == 1.5
    assert (values["lgg_node_spool_bytes",], values["lgg_node_free_bytes",]) == (1000, 5)
    assert values["lgg_node_certificate_end_seconds", "listen"] == 7
    assert values["lgg_node_ill",] == 0


def test_health_is_200_or_503_with_the_reasons(serve: Callable[[list[str]], str]) -> None:
    status, text = fetch(serve([]) + "/health")
    assert (status, json.loads(text)) == (200, {"healthy": True, "reasons": []})
    status, text = fetch(serve(["worker: ended"]) + "/health")
    assert (status, json.loads(text)["reasons"]) == (503, ["worker: ended"])
    assert "\nlgg_node_ill 1.0\n" in fetch(serve(["worker: ended"]) + "/metrics")[1]
    assert fetch(serve([]) + "/other")[0] == 404
    assert fetch(serve([]) + "/health?from=here")[0] == 200


@pytest.mark.parametrize(("reasons", "code"), [([], 200), (["worker: ended"], 503)])
def test_health_is_told_without_a_body_where_none_is_wanted(
    serve: Callable[[list[str]], str], reasons: list[str], code: int
) -> None:
    connection = http.client.HTTPConnection(serve(reasons).removeprefix("http://"), timeout=30)
    connection.request("HEAD", "/health")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (code, b"")
    assert int(answer.headers["Content-Length"]) > 0
    assert answer.headers["Content-Type"] == "application/json"
    connection.close()


def test_metrics_that_cannot_be_had_say_why() -> None:
    def refuse() -> int:
        raise ResourceError("the spool is gone")

    collector = NodeCollector(lambda: STATUS, Tally(), lambda: 5, {}, list)
    server = HealthServer(Http(port=free_port()), collector, lambda: [])
    try:
        collector._free_bytes = refuse
        assert fetch(f"http://127.0.0.1:{server.port}/metrics") == (503, "the spool is gone\n")
    finally:
        server.stop()


@pytest.mark.parametrize("address", ["::1", "0:0:0:0:0:0:0:1", "localhost"])
def test_health_is_told_at_every_address_of_this_machine(address: str) -> None:
    with socket.socket(socket.AF_INET6) as look:
        try:
            look.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
    collector = NodeCollector(lambda: STATUS, Tally(), lambda: 5, {}, list)
    server = HealthServer(Http(address=address, port=free_port()), collector, lambda: [])
    try:
        host = f"[{address}]" if ":" in address else address
        assert fetch(f"http://{host}:{server.port}/health")[0] == 200
    finally:
        server.stop()


def test_a_client_that_resets_its_connection_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    is_reset, is_told = threading.Event(), threading.Event()
    told: list[str] = []

    def ill() -> list[str]:
        is_reset.wait(20)
        return []

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())
            is_told.set()

    handler = Told()
    LOG.addHandler(handler)
    collector = NodeCollector(lambda: STATUS, Tally(), lambda: 5, {}, list)
    server = HealthServer(Http(port=free_port()), collector, ill)
    try:
        with socket.create_connection(("127.0.0.1", server.port)) as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.sendall(b"GET /health HTTP/1.0\r\n\r\n" + b"x" * 65536)
        is_reset.set()
        assert is_told.wait(20)
    finally:
        server.stop()
        LOG.removeHandler(handler)
    assert told == ["a request for health or metrics broke off"]
    assert "Traceback" not in capsys.readouterr().err


def test_the_command_receives_answers_and_ends_cleanly(tmp_path: Path, artifact: Path) -> None:
    archive = Archive()
    archive.start()
    port, http = free_port(), free_port()
    config = write_config(
        tmp_path,
        archive.destination,
        listen={"port": port},
        http={"port": http},
        model={"name": str(artifact)},
        node={"log_level": "debug"},
    )
    node = NodeProcess(config, tmp_path / "node.log")
    node.start()
    try:
        study = draw_studies(tmp_path / "drawn")[0]
        send_study(port, study, abort_after=3)
        assert set(send_study(port, study)) == {0}
        archive.wait(60)
        assert fetch(f"http://127.0.0.1:{http}/health")[0] == 200
        metrics = fetch(f"http://127.0.0.1:{http}/metrics")[1]
        assert "lgg_node_objects_total" in metrics
        assert node.stop() == 0
        told = node.call("status").stdout
    finally:
        node.end()
        archive.stop()
    log = node.log.read_text()
    assert re.search(r"(?m)^results     1, 1 in the last hour", told)
    assert told.splitlines()[-1] == "Research use only, not for diagnosis."
    assert re.search(r"listening on port \d+; research use only, not for diagnosis\n", log)
    for word in (*PATIENT, "Traceback"):
        assert not [text for text in (log, told, metrics) if word in text]
    # Without the process, the database still tells.
    assert json.loads(node.call("status", "--json").stdout)["studies"]["done"] == 1
    assert node.call("retry", "--all").stdout == "0 queued again\n"


def test_a_node_whose_terminal_is_closed_ends_cleanly(tmp_path: Path, artifact: Path) -> None:
    config = write_config(tmp_path, model={"name": str(artifact)})
    node = NodeProcess(config, tmp_path / "node.log")
    node.start()
    try:
        assert node.stop(signal.SIGHUP) == 0
    finally:
        node.end()
    assert "stopping" in node.log.read_text()


def test_a_destination_that_does_not_answer_keeps_no_node_that_was_told_to_end(
    tmp_path: Path, artifact: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        destination = (
            'name = "silent"\nkind = "c-store"\naddress = "127.0.0.1"\nae_title = "SILENT"\n'
            f"port = {silent.getsockname()[1]}\ntimeout_seconds = 600.0"
        )
        port = free_port()
        listen, model = {"port": port}, {"name": str(artifact)}
        config = write_config(tmp_path, destination, listen=listen, model=model)
        node = NodeProcess(config, tmp_path / "node.log")
        node.start()
        try:
            assert set(send_study(port, draw_studies(tmp_path / "drawn")[0])) == {0}
            connection, _ = silent.accept()
            with connection:
                assert node.stop() == 0
        finally:
            node.end()
    assert "sender silent did not end in time; its work is done again" in node.log.read_text()


def test_results_for_a_destination_of_the_past_are_told_and_forgotten_when_asked(
    tmp_path: Path,
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    config = str(write_config(tmp_path))  # of one destination, nowhere
    with closing(State(spool / DATABASE)) as state, state.change() as run:
        run("INSERT INTO study (id, state, last_at) VALUES ('s', 'done', 0)")
        run("INSERT INTO result VALUES ('r', 's', '', 1, 0, 0, 0, 0, 1)")
        for name, reached in (("nowhere", "given up"), ("old", "given up"), ("older", "sent")):
            run(
                "INSERT INTO delivery (result, destination, state, next_at) VALUES ('r', ?, ?, 0)",
                (name, reached),
            )
    call = partial(CliRunner().invoke, command)
    told = (
        "1 unsent result for old, which the settings do not name; name it again, "
        "or lgg-node forget old"
    )
    assert call(["retry", "--all", "--config", config]).output == f"1 queued again\n{told}\n"
    assert call(["forget", "old", "--config", config]).output == "1 forgotten\n"
    assert call(["retry", "--all", "--config", config]).output == "0 queued again\n"
    with closing(State(spool / DATABASE)) as state:
        rows = state.rows("SELECT destination, state FROM delivery ORDER BY destination")
        assert [tuple(row) for row in rows] == [("nowhere", "waiting"), ("older", "sent")]
        with pytest.raises(UsageError, match="nowhere: the settings name it"):
            forget_orphans(state, "nowhere", ["nowhere"])


@pytest.mark.parametrize("what", ["listen", "http"])
def test_a_port_that_another_program_holds_is_no_mistake_in_the_settings(
    tmp_path: Path, artifact: Path, what: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken: dict[str, Any] = {what: {"port": other.getsockname()[1]}}
        path = write_config(tmp_path, model={"name": str(artifact)}, **taken)
        with (
            pytest.raises(ResourceError, match=r"cannot be used .*; start again when it can"),
            run_node(load_config(path)),
        ):
            pass


def test_an_address_of_nobody_is_a_mistake_or_not_there_yet() -> None:
    def code(address: str, error: OSError | UnicodeError) -> int:
        return unusable("listen", address, error).exit_code

    unknown = socket.gaierror(socket.EAI_NONAME, "not known")
    assert code("10.0.0.1", OSError(errno.EADDRNOTAVAIL, "not there")) == 7
    assert {code(name, unknown) for name in ("pacs", "a.b2", "x-1.local.")} == {7}
    assert {code(name, unknown) for name in ("300.1.1.1", "no such host", "7", "")} == {2}
    forbidden = unusable("listen: 10.0.0.1:104", "10.0.0.1", OSError(errno.EACCES, "not allowed"))
    assert forbidden.exit_code == 2
    assert str(forbidden).endswith("; choose one above 1023, or allow CAP_NET_BIND_SERVICE")
    assert code("a..b", UnicodeError("label empty")) == 2


def test_an_address_that_is_no_name_is_a_mistake(tmp_path: Path, artifact: Path) -> None:
    path = write_config(tmp_path, listen={"address": "a..b"}, model={"name": str(artifact)})
    with (
        pytest.raises(UsageError, match=r"listen: a\.\.b:0 cannot be used"),
        run_node(load_config(path)),
    ):
        pass


def test_a_spool_that_the_node_makes_is_its_user_s_alone(tmp_path: Path, artifact: Path) -> None:
    config = load_config(write_config(tmp_path, model={"name": str(artifact)}))
    with run_node(config):
        assert config.node.spool.stat().st_mode & 0o777 == 0o700


def test_the_command_checks_its_settings_and_prints_an_example(tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert run(command, ["check", "--config", str(write_config(tmp_path))]).exit_code == 0
    for name in ("a.pem", "b.pem", "c.pem"):
        (tmp_path / name).write_text("no certificate")
    files = [str(tmp_path / name) for name in ("a.pem", "b.pem", "c.pem")]
    path = write_config(
        tmp_path,
        listen=dict(zip(("certificate", "key", "client_ca"), files, strict=True)),
        model={"name": "gone.onnx", "first_look": "gone too"},
        destination='name = "a"\nkind = "stow"\nurl = "http://u:p@host/web"\n[[destination]]\n'
        'name = "b"\nkind = "stow"\nurl = "http://[::1]/web"',
    )
    wrong = run(command, ["check", "--config", str(path)])
    assert isinstance(wrong.exception, UsageError)
    begins = [line.strip().split(":")[0] for line in str(wrong.exception).splitlines()[1:]]
    assert begins == ["destination a", "destination b", "listen", "model.first_look", "model.name"]
    assert run(command, ["example"]).output == EXAMPLE.read_text()
    assert "Research use only" in run(command, ["--help"]).output


def test_a_check_without_the_node_s_packages_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    done = CliRunner().invoke(command, ["check", "--config", str(write_config(tmp_path))])
    assert isinstance(done.exception, MissingExtraError)
    assert "pip install 'lgg-edge[node]'" in str(done.exception)


def test_a_worker_in_native_code_is_not_left_to_an_interpreter_that_ends() -> None:
    code = (
        "import threading, time; from lgg_runtime.pacs.cli import _end_at_once\n"
        "{}\n_end_at_once(); print('Python ends by itself')"
    )
    worker = "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    for begun, said in ((worker, ""), ("", "Python ends by itself\n")):
        words = [sys.executable, "-c", code.format(begun)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert done.stdout == said


@pytest.mark.parametrize("words", [["status"], ["retry", "--all"]])
def test_a_look_at_the_node_loads_no_library_of_pictures(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "spool").mkdir()
    State(tmp_path / "spool" / DATABASE).close()
    code = (
        "import sys; from lgg_runtime.pacs.cli import command\n"
        "command.main(sys.argv[1:], standalone_mode=False)\n"
        "print([m for m in ('numpy', 'cv2', 'pydicom') if m in sys.modules])"
    )
    call = [sys.executable, "-c", code, *words, "--config", str(write_config(tmp_path))]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", ["status", "retry"])
def test_a_spool_of_another_user_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(_: Path) -> os.stat_result:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    words = [name, "--config", str(write_config(tmp_path))]
    monkeypatch.setattr(Path, "lstat", refuse)
    with pytest.raises(ResourceError, match="spool: only the node's user may look there"):
        command.main([*words, "--all"] if name == "retry" else words, standalone_mode=False)
