"""The node's settings: one TOML file, checked as a whole before anything starts."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

from lgg_runtime.cores import MOST_THREADS
from lgg_runtime.errors import UsageError, printable
from lgg_runtime.pacs.fields import (
    file,
    folder,
    integer,
    one_of,
    read_table,
    real,
    text,
    texts,
)
from lgg_runtime.providers import PROVIDERS

EXAMPLE = Path(__file__).parent / "node.toml"
_AE_SAYS = "an AE title of 1 to 16 characters"
_NAME_SAYS = "letters, digits and dashes"
MIB = 1 << 20
DAY_SECONDS = 86400.0


def is_ae_title(value: str) -> bool:
    """PS3.5, 6.2: printable ASCII without backslash; not blank, no space at its ends."""
    return bool(re.fullmatch(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?", value))


def is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
        # Of a peer by IPv4, where the node listens on "::".
        return (getattr(found, "ipv4_mapped", None) or found).is_loopback
    except ValueError:
        return address == "localhost"


class MistakesError(UsageError):
    """Settings with mistakes in them: a line for the file, and one for each mistake."""

    def __init__(self, path: Path, mistakes: Sequence[str]):
        super().__init__(f"{path}: {len(mistakes)} to mend")
        self.mistakes = sorted(mistakes)

    def __str__(self) -> str:
        return "\n  ".join((super().__str__(), *map(printable, self.mistakes)))


@dataclass(frozen=True, kw_only=True)
class Node:
    ae_title: str = text("LGG-NODE", _AE_SAYS, is_ae_title)
    spool: Path = folder()
    log_level: str = one_of("info", "debug", "info", "warning", "error")


@dataclass(frozen=True, kw_only=True)
class Listen:
    """calling_ae_titles: who may send; empty: anyone on this machine and nobody else."""

    address: str = text("127.0.0.1", "an address", bool)
    port: int = integer(11112, 0, 65535)
    calling_ae_titles: tuple[str, ...] = texts(_AE_SAYS, is_ae_title)
    certificate: Path | None = file()
    key: Path | None = file()
    client_ca: Path | None = file()


@dataclass(frozen=True, kw_only=True)
class Limits:
    associations: int = integer(8, 1, 1000)
    pdu_bytes: int = integer(262144, 4096, 16 * MIB)
    object_mib: int = integer(256, 1, 1024)
    free_disk_mib: int = integer(2048, 0, 1 << 40)
    network_seconds: float = real(30.0, 0.1, DAY_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Study:
    """attempts: how often work on a study may end with the process before it is given up."""

    quiet_seconds: float = real(60.0, 0.1, DAY_SECONDS)
    attempts: int = integer(5, 1, 100)


@dataclass(frozen=True, kw_only=True)
class Model:
    """first_look: the model that decides where this one runs, empty for everywhere; threads: 0 for
    all cores that the process may use; batch: 0 for what suits the provider.
    """

    name: str = text("standard", "a shipped model's name or a file", bool)
    first_look: str = text("")
    provider: str = one_of("cpu", *PROVIDERS)
    threads: int = integer(0, 0, MOST_THREADS)
    batch: int = integer(0, 0, 1024)


@dataclass(frozen=True, kw_only=True)
class Retention:
    images_hours: float = real(48.0, 0.0, 1e5)
    results_hours: float = real(168.0, 0.0, 1e5)
    records_days: float = real(90.0, 0.0, 1e4)


@dataclass(frozen=True, kw_only=True)
class Http:
    """port 0: no HTTP."""

    address: str = text("127.0.0.1", "an address of this machine's loopback", is_loopback)
    port: int = integer(9180, 0, 65535)


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where results go. kind c-store: address, port, ae_title; kind stow: url, user."""

    name: str = text(MISSING, _NAME_SAYS, lambda v: bool(re.fullmatch(r"[A-Za-z0-9-]+", v)))
    kind: str = one_of(MISSING, "c-store", "stow")
    address: str = text("", "an address", bool)
    port: int = integer(0, 1, 65535)
    ae_title: str = text("", _AE_SAYS, is_ae_title)
    url: str = text("", "an http or https URL", lambda v: bool(re.match(r"https?://\S+$", v)))
    user: str = text("")
    password_file: Path | None = file()
    ca: Path | None = file()
    certificate: Path | None = file()
    key: Path | None = file()
    attempts: int = integer(20, 1, 10000)
    first_wait_seconds: float = real(5.0, 0.01, DAY_SECONDS)
    longest_wait_seconds: float = real(900.0, 0.01, DAY_SECONDS)
    timeout_seconds: float = real(30.0, 0.1, DAY_SECONDS)


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    node: Node
    listen: Listen
    limits: Limits
    study: Study
    model: Model
    retention: Retention
    http: Http
    destinations: tuple[Destination, ...]


_SECTIONS: dict[str, type[Any]] = {
    "node": Node, "listen": Listen, "limits": Limits, "study": Study, "model": Model,
    "retention": Retention, "http": Http,
}  # fmt: skip
_NEEDS = {"c-store": ("address", "port", "ae_title"), "stow": ("url",)}
_HAS_NO_USE = {"c-store": ("url", "user", "password_file"), "stow": _NEEDS["c-store"]}


def load_config(path: Path, needs_files: bool = True) -> NodeConfig:
    """Read and check a file. Raises MistakesError for what is wrong in it, UsageError where it is
    no TOML or cannot be read.

    needs_files: whether certificates, keys and passwords that it names have to be there.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: no TOML: {error}") from error
    mistakes: list[str] = []
    for name in tables.keys() - _SECTIONS.keys() - {"destination"}:
        mistakes.append(f"{name}: no such section; there are {', '.join(_SECTIONS)}, destination")
    sections = {
        name: read_table(kind, tables.get(name, {}), name, mistakes, needs_files)
        for name, kind in _SECTIONS.items()
    }
    destinations = _read_destinations(tables.get("destination", []), mistakes, needs_files)
    listen = sections["listen"]
    if listen is not None:
        _check_pair(listen.certificate, listen.key, "listen", mistakes)
        if listen.client_ca and not listen.certificate:
            mistakes.append("listen.client_ca: needs certificate and key")
        _check_ports(listen, sections["http"], mistakes)
    if sections["retention"] is not None:
        _check_retention(sections["retention"], mistakes)
    if mistakes:
        raise MistakesError(path, mistakes)
    return NodeConfig(**sections, destinations=destinations)  # type: ignore[arg-type]


def _read_destinations(
    tables: object, mistakes: list[str], needs_files: bool
) -> tuple[Destination, ...]:
    if not isinstance(tables, list) or not tables:
        mistakes.append("destination: expected [[destination]] at least once")
        return ()
    found = []
    for number, table in enumerate(tables, 1):
        where = f"destination {number}"
        one = read_table(Destination, table, where, mistakes, needs_files)
        if one is None:
            continue
        found.append(one)
        for name in _NEEDS[one.kind]:
            if not getattr(one, name):
                mistakes.append(f"{where}.{name}: missing; kind {one.kind} needs it")
        for name in _HAS_NO_USE[one.kind]:
            if getattr(one, name):
                mistakes.append(f"{where}.{name}: kind {one.kind} has no use for it")
        if bool(one.user) != bool(one.password_file):
            mistakes.append(f"{where}: user and password_file go together")
        if one.first_wait_seconds > one.longest_wait_seconds:
            mistakes.append(f"{where}.first_wait_seconds: above longest_wait_seconds")
        _check_pair(one.certificate, one.key, where, mistakes)
        if one.kind == "stow" and (one.ca or one.certificate):
            mistakes.append(f"{where}.ca: for c-store; REQUESTS_CA_BUNDLE names a stow server's")
        if one.certificate and not one.ca:
            mistakes.append(f"{where}.ca: missing; certificate and key need it")
        if one.name in {other.name for other in found[:-1]}:
            mistakes.append(f"{where}.name: {one.name} is taken")
    return tuple(found)


def _check_retention(keep: Retention, into: list[str]) -> None:
    """A record that goes takes its images and results with it."""
    most = keep.records_days * 24
    for name in ("images_hours", "results_hours"):
        if (hours := getattr(keep, name)) > most:
            into.append(
                f"retention.records_days: {keep.records_days:g}, of {most:g} hours, "
                f"is below {name}, {hours:g}"
            )


def _check_ports(listen: Listen, http: Http | None, into: list[str]) -> None:
    if http and 0 < http.port == listen.port and listen.address in (http.address, "0.0.0.0", "::"):
        into.append(f"http.port: expected another than listen.port, found {http.port}")


def _check_pair(certificate: Path | None, key: Path | None, where: str, into: list[str]) -> None:
    if (certificate is None) != (key is None):
        into.append(f"{where}: certificate and key go together")
