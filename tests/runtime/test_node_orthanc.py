"""The way that docs/node.md describes: a study in Orthanc, the node, the SEG in Orthanc."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")
pytest.importorskip("dicomweb_client")

from pydicom import dcmread

from lgg_runtime.pacs.cli import command
from lgg_runtime.pacs.health import NodeCollector
from lgg_runtime.pacs.state import DELIVERY_STATES, STATES
from lgg_runtime.pacs.tally import Tally
from stand_ins.node_process import NodeProcess, wait_until
from stand_ins.orthanc import Orthanc, why_missing
from stand_ins.pacs import PATIENT, draw_studies, write_config
from stand_ins.ports import free_port

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
needs_orthanc = pytest.mark.skipif(bool(why_missing()), reason=why_missing())


@pytest.fixture
def node_port() -> int:
    return free_port()


@pytest.fixture
def settings(node_port: int) -> dict[str, Any]:
    """The example's for Orthanc, with its route, but for the port and a shorter wait."""
    text = (EXAMPLES / "orthanc.json").read_text()
    found: dict[str, Any] = json.loads(re.sub(r"(?m)^\s*//.*$", "", text))
    assert found["LuaScripts"] == ["/etc/orthanc/orthanc-route.lua"]
    found["LuaScripts"] = [str(EXAMPLES / "orthanc-route.lua")]
    found["DicomModalities"]["lgg-node"][2] = node_port
    return found | {"StableAge": 1}


@pytest.fixture
def orthanc(tmp_path: Path, settings: dict[str, Any]) -> Iterator[Orthanc]:
    (tmp_path / "orthanc").mkdir()
    one = Orthanc(tmp_path / "orthanc", more=settings)
    one.start()
    yield one
    one.stop()


@needs_orthanc
@pytest.mark.parametrize("kind", ["c-store", "stow"])
def test_a_study_in_orthanc_gets_its_segmentation(
    orthanc: Orthanc,
    node_port: int,
    artifact: Path,
    tmp_path: Path,
    call_infer: Callable[..., SimpleNamespace],
    kind: str,
) -> None:
    stow = f'name = "orthanc"\nkind = "stow"\nurl = "{orthanc.dicomweb}"'
    config = write_config(
        tmp_path,
        orthanc.destination if kind == "c-store" else stow,
        listen={"port": node_port, "calling_ae_titles": ["ORTHANC"]},
        study={"quiet_seconds": 2.0},
        model={"name": str(artifact)},
    )
    study = draw_studies(tmp_path / "drawn")[0]
    node = NodeProcess(config, tmp_path / "node.log")
    node.start()
    try:
        orthanc.upload(study)
        wait_until(lambda: bool(orthanc.find_segmentations()), 120, "a SEG in Orthanc")
        done = call_infer(study, "-o", tmp_path / "out", "-m", artifact, "-ot", "dicom-seg", "-q")
        assert done.code == 0
        (expected,) = (tmp_path / "out").rglob("*_seg.dcm")
        (uids,) = orthanc.find_segmentations()
        assert orthanc.fetch(uids) == dcmread(expected)
        assert node.status()["results"]["total"] == 1
        assert node.stop() == 0
    finally:
        node.end()
    log = node.log.read_text()
    assert "sent to orthanc" in log
    assert not any(word in log for word in PATIENT), log


@needs_orthanc
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_what_failed_while_the_node_was_down_is_sent_as_documented(
    orthanc: Orthanc, node_port: int, artifact: Path, tmp_path: Path
) -> None:
    config = write_config(
        tmp_path,
        orthanc.destination,
        listen={"port": node_port, "calling_ae_titles": ["ORTHANC"]},
        study={"quiet_seconds": 2.0},
        model={"name": str(artifact)},
    )
    study = draw_studies(tmp_path / "drawn")[0]
    series = {dcmread(path).SeriesInstanceUID for path in study.iterdir()}

    def have_failed() -> bool:
        jobs = [orthanc.call(f"/jobs/{job}")["State"] for job in orthanc.call("/jobs")]
        return jobs == ["Failure"] * len(series)

    orthanc.upload(study)
    wait_until(have_failed, 120, "Orthanc cannot send")
    page = (EXAMPLES.parent / "node.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"```sh\n(curl .*?/tools/find .*?)```", page, re.DOTALL)
    line = line.replace("8042", str(orthanc.http_port)).replace("20260101-", "20010101-")
    node = NodeProcess(config, tmp_path / "node.log")
    node.start()
    try:
        subprocess.run(line, shell=True, check=True, capture_output=True)
        wait_until(lambda: bool(orthanc.find_segmentations()), 120, "a SEG in Orthanc")
        assert node.status()["studies"]["done"] == 1
        assert node.stop() == 0
    finally:
        node.end()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_documented_certificates_new_and_renewed_are_valid_as_python_3_13_wants_them(
    tmp_path: Path,
) -> None:
    page = (EXAMPLES.parent / "node.md").read_text(encoding="utf-8").split("\n## TLS\n")[1]
    make, _, renew, renew_authority = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)[:4]
    checked = "openssl verify -x509_strict -CAfile ca.pem lgg-node.pem orthanc.pem"
    steps = [f"{step}\n{checked}" for step in (make, renew, renew_authority)]
    script = "\n".join(["install() { :; }; systemctl() { :; }", *steps])
    subprocess.run(["sh", "-ec", script], cwd=tmp_path, check=True, capture_output=True)


@needs_orthanc
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_studies_and_results_go_over_tls_as_documented(
    settings: dict[str, Any], node_port: int, artifact: Path, tmp_path: Path
) -> None:
    page = (EXAMPLES.parent / "node.md").read_text(encoding="utf-8")
    page = page.split("\n## TLS\n")[1].split("\n## ")[0].replace("/etc/", f"{tmp_path}/etc/")
    (toml,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (of_orthanc,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    make = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)[0].replace(" -g $name", "")
    subprocess.run(["sh", "-ec", make], cwd=tmp_path, check=True, capture_output=True)
    listen, destination = toml.split("\n\n")
    settings |= json.loads(of_orthanc)
    settings["DicomModalities"]["lgg-node"]["Port"] = node_port
    (tmp_path / "orthanc").mkdir()
    orthanc = Orthanc(tmp_path / "orthanc", more=settings)
    config = write_config(
        tmp_path,
        f"{orthanc.destination}\n{destination}",
        listen=tomllib.loads(listen) | {"port": node_port},
        study={"quiet_seconds": 2.0},
        model={"name": str(artifact)},
    )
    node = NodeProcess(config, tmp_path / "node.log")
    try:
        orthanc.start()
        node.start()
        orthanc.upload(draw_studies(tmp_path / "drawn")[0])
        wait_until(lambda: bool(orthanc.find_segmentations()), 120, "a SEG in Orthanc")
        assert node.stop() == 0
    finally:
        node.end()
        orthanc.stop()


def test_the_unit_calls_the_command_as_it_is() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(EXAMPLES / "lgg-node.service")
    service = unit["Service"]
    program, name, *options = service["ExecStart"].split()
    assert Path(program).name == "lgg-node"
    assert name in command.commands
    assert options == ["--config", "/etc/lgg-node/node.toml"]
    # RestartPreventExitStatus is of the main process alone: a check before it would be tried anew.
    assert service["RestartPreventExitStatus"] == "2 5 6"
    assert "ExecStartPre" not in service
    assert service["KillSignal"] == "SIGTERM"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = (EXAMPLES / "lgg-node.service").read_text()
    unit = tmp_path / "lgg-node.service"
    # systemd-analyze wants the programs to be there.
    unit.write_text(text.replace("/opt/lgg-edge/bin/lgg-node", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
def test_prometheus_takes_the_alerts(tmp_path: Path) -> None:
    rules = EXAMPLES / "lgg-node.rules.yml"
    _promtool("check", "rules", rules)
    waits = 'lgg_node_deliveries{destination="%s",state="waiting"}'
    sent = 'lgg_node_deliveries_total{destination="%s",outcome="sent"}'
    series = {waits % "stuck": "9x70", sent % "stuck": "5x70",
              waits % "drains": "90-1x70", sent % "drains": "5+1x70"}  # fmt: skip
    told = {"eval_time": "65m", "alertname": "LggNodeDeliveriesWait",
            "exp_alerts": [{"exp_labels": {"destination": "stuck"}}]}  # fmt: skip
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": "1m", "input_series": inputs, "alert_rule_test": [told]}
    cases = tmp_path / "cases.yml"  # of JSON, which YAML contains
    cases.write_text(json.dumps({"rule_files": [str(rules)], "tests": [test]}))
    _promtool("test", "rules", cases)


def _promtool(*words: str | Path) -> None:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_alerts_ask_for_metrics_and_states_that_the_node_has() -> None:
    rules = (EXAMPLES / "lgg-node.rules.yml").read_text()
    asked = set(re.findall(r"lgg_node_\w+", rules))
    status: dict[str, Any] = {
        "studies": {},
        "destinations": {},
        "seconds": {},
        "results": {"total": 0},
    }
    status["images"] = {"bytes": 0}
    collector = NodeCollector(lambda: status, Tally(), lambda: 5, {}, list)
    has = {family.name + "_total" * (family.type == "counter") for family in collector.collect()}
    assert asked and asked <= has
    states = {one for found in re.findall(r'state=~?"(.+?)"', rules) for one in found.split("|")}
    assert states and states <= {*STATES, *DELIVERY_STATES}
