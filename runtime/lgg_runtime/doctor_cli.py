"""lgg-infer doctor: what of the runtime works on this machine."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from lgg_runtime import doctor
from lgg_runtime.terminal import show


@click.command("lgg-infer doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of lines.")
def command(as_json: bool) -> int:
    """Say what of the runtime works on this machine, with advice where something does not.

    Takes a few seconds. Ends with 6 where no provider starts.
    """
    findings = []
    for finding in doctor.examine():
        findings.append(finding)
        if not as_json:
            advice = f"\n{'':24}-> {finding.advice}" if finding.advice else ""
            show(f"{finding.subject:24}{finding.found}{advice}")
    if as_json:
        show(json.dumps([asdict(finding) for finding in findings], indent=1))
    started = [finding.works for finding in findings if finding.subject.startswith("provider ")]
    return 0 if any(started) else 6
