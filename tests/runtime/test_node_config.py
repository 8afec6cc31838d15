"""The settings' file: its defaults, its example, and every mistake in one message."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lgg_runtime.errors import UsageError
from lgg_runtime.pacs.config import EXAMPLE, is_ae_title, is_loopback, load_config
from stand_ins.pacs import write_config


def test_the_example_is_valid_and_its_comments_tell_the_defaults(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    as_it_is = load_config(EXAMPLE)
    # Uncommented, but for the second destination and the files that are not there.
    full = re.sub(r"(?m)^#(\w+ = )", r"\1", text.split("#[[destination]]")[0])
    path = tmp_path / "full.toml"
    path.write_text(full, encoding="utf-8")
    assert load_config(path) == as_it_is
    assert as_it_is.study.quiet_seconds == 60
    assert as_it_is.listen.calling_ae_titles == ()


def test_every_setting_stands_in_the_example() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    config = load_config(EXAMPLE)
    for name in ("node", "listen", "limits", "study", "model", "retention", "http"):
        part = text.split(f"[{name}]")[1].split("\n[")[0]
        for setting in vars(getattr(config, name)):
            assert re.search(rf"(?m)^#?{setting} = ", part), (name, setting)


def test_every_mistake_is_listed_in_one_go(tmp_path: Path) -> None:
    path = write_config(
        tmp_path,
        'name = "a b"\nkind = "ftp"',
        node={"spool": "here", "ae_title": "A TITLE THAT IS TOO LONG", "colour": "red"},
        limits={"associations": 0, "network_seconds": "long"},
        http={"address": "0.0.0.0"},
        listen={
            "certificate": "/nowhere.pem",
            "key": f"/{'a' * 300}",
            "port": True,
            "calling_ae_titles": "ABC",
        },
    )
    path.write_text(path.read_text() + "\n[extra]\n")
    with pytest.raises(UsageError) as caught:
        load_config(path)
    first, *lines = str(caught.value).splitlines()
    found = {line.strip().split(":")[0] for line in lines}
    assert found == {
        "node.spool", "node.ae_title", "node.colour", "limits.associations",
        "limits.network_seconds", "http.address", "listen.certificate", "listen.key",
        "listen.port", "listen.calling_ae_titles", "destination 1.name", "destination 1.kind",
        "extra",
    }  # fmt: skip
    assert first.endswith(f"{len(found)} to mend")
    assert any("expected a whole number from 1 to 1000, found 0" in line for line in lines)


def test_a_mistake_stays_on_its_line(tmp_path: Path) -> None:
    path = tmp_path / "node\n.toml"
    path.write_text(EXAMPLE.read_text(encoding="utf-8") + '\n["a\\nb"]\n["c\\u001bd"]\n')
    with pytest.raises(UsageError) as caught:
        load_config(path)
    first, *lines = str(caught.value).splitlines()
    assert first.endswith(r"node\n.toml: 2 to mend")
    assert [line.split(":")[0] for line in lines] == [r"  a\nb", r"  c\x1bd"]


@pytest.mark.parametrize(
    ("destination", "said"),
    [
        ('name = "a"\nkind = "c-store"', "destination 1.ae_title: missing; kind c-store needs it"),
        ('name = "a"\nkind = "stow"', "destination 1.url: missing; kind stow needs it"),
        (
            'name = "a"\nkind = "c-store"\nurl = "http://h/w"',
            "destination 1.url: kind c-store has no use for it",
        ),
        (
            'name = "a"\nkind = "stow"\nurl = "http://h/w"\nport = 104',
            "destination 1.port: kind stow has no use for it",
        ),
        (
            'name = "a"\nkind = "stow"\nurl = "http://h/w"\nuser = "u"',
            "destination 1: user and password_file go together",
        ),
        (
            'name = "a"\nkind = "stow"\nurl = "http://h/w"\n[[destination]]\nname = "a"\n'
            'kind = "stow"\nurl = "http://h/v"',
            "destination 2.name: a is taken",
        ),
        (
            'name = "a"\nkind = "stow"\nurl = "http://h/w"\nfirst_wait_seconds = 1000',
            "destination 1.first_wait_seconds: above longest_wait_seconds",
        ),
    ],
)
def test_a_destination_is_checked_as_a_whole(tmp_path: Path, destination: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        load_config(write_config(tmp_path, destination))


@pytest.mark.parametrize(
    ("listen", "destination", "said"),
    [
        ("key", "", "listen: certificate and key go together"),
        ("certificate", "", "listen: certificate and key go together"),
        ("client_ca", "", "listen.client_ca: needs certificate and key"),
        ("", "ca key", "destination 1: certificate and key go together"),
        ("", "ca certificate", "destination 1: certificate and key go together"),
        ("", "certificate key", "destination 1.ca: missing; certificate and key need it"),
    ],
)
def test_files_of_tls_that_need_others_are_not_taken_alone(
    tmp_path: Path, listen: str, destination: str, said: str
) -> None:
    file = tmp_path / "file.pem"
    file.touch()
    to = 'name = "a"\nkind = "c-store"\naddress = "h"\nport = 104\nae_title = "A"'
    to += "".join(f'\n{name} = "{file}"' for name in destination.split())
    path = write_config(tmp_path, to, listen=dict.fromkeys(listen.split(), str(file)))
    with pytest.raises(UsageError, match=re.escape(said)):
        load_config(path)


@pytest.mark.parametrize("names", [["ca"], ["certificate", "key"]])
def test_a_stow_server_s_tls_is_not_in_the_settings(tmp_path: Path, names: list[str]) -> None:
    file = tmp_path / "file.pem"
    file.touch()
    to = 'name = "a"\nkind = "stow"\nurl = "https://h/w"'
    to += "".join(f'\n{name} = "{file}"' for name in names)
    with pytest.raises(UsageError, match=r"destination 1\.ca: for c-store; REQUESTS_CA_BUNDLE"):
        load_config(write_config(tmp_path, to))


@pytest.mark.parametrize(
    ("section", "name", "least", "most"),
    [
        ("listen", "port", 0, 65535),
        ("limits", "associations", 1, 1000),
        ("limits", "pdu_bytes", 4096, 16 << 20),
        ("limits", "object_mib", 1, 1024),
        ("limits", "free_disk_mib", 0, 1 << 40),
        ("limits", "network_seconds", 0.1, 86400),
        ("study", "quiet_seconds", 0.1, 86400),
        ("study", "attempts", 1, 100),
        ("model", "batch", 0, 1024),
        ("http", "port", 0, 65535),
    ],
)
def test_a_number_may_be_either_end_of_its_range_and_none_beyond(
    tmp_path: Path, section: str, name: str, least: float, most: float
) -> None:
    for value in (least, most):
        config = load_config(write_config(tmp_path, **{section: {name: value}}))
        assert getattr(getattr(config, section), name) == value
    for value in (least - 0.1 if isinstance(least, float) else least - 1, most + 1):
        path = write_config(tmp_path, **{section: {name: value}})
        with pytest.raises(UsageError, match=rf"{section}\.{name}: expected a .*number from"):
            load_config(path)


@pytest.mark.parametrize(
    ("address", "is_taken"), [("127.0.0.1", True), ("0.0.0.0", True), ("192.0.2.1", False)]
)
def test_health_has_a_port_of_its_own(tmp_path: Path, address: str, is_taken: bool) -> None:
    listen = {"address": address, "port": 9180}
    path = write_config(tmp_path, listen=listen, http={"port": 9180})
    if not is_taken:
        assert load_config(path).http.port == 9180
        return
    with pytest.raises(UsageError, match=r"http\.port: expected another than listen\.port, found"):
        load_config(path)


def test_a_spool_is_a_path_that_can_be(tmp_path: Path) -> None:
    path = write_config(tmp_path, node={"spool": "/var/\0"})
    path.write_text(path.read_text().replace("\0", r"\u0000"))
    with pytest.raises(UsageError, match=r"node\.spool: expected a path from the root, found"):
        load_config(path)


@pytest.mark.parametrize("name", ["images_hours", "results_hours"])
def test_a_record_outlives_its_images_and_results(tmp_path: Path, name: str) -> None:
    keep = {"images_hours": 1, "results_hours": 1, "records_days": 1}
    keep[name] = 25
    path = write_config(tmp_path, retention=keep)
    said = rf"retention\.records_days: 1, of 24 hours, is below {name}, 25"
    with pytest.raises(UsageError, match=said):
        load_config(path)
    keep[name] = 24
    load_config(write_config(tmp_path, retention=keep))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a = \n",
        "[[destination]]",
        "node = 3",
        f"a = {'[' * 3000}{']' * 3000}",
        f"[limits]\nassociations = 0x{'f' * 9000}",
    ],
)
def test_what_is_no_settings_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "node.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"node\.toml"):
        load_config(path)
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("title", "valid"),
    [
        ("LGG-NODE", True), ("A", True), ("A B", True), ("A" * 16, True), ("A" * 17, False),
        ("", False), (" A", False), ("A ", False), ("A\\B", False), ("Ä", False), ("A\n", False),
    ],
)  # fmt: skip
def test_an_ae_title_is_what_the_standard_says(title: str, valid: bool) -> None:
    assert is_ae_title(title) is valid


@pytest.mark.parametrize(
    ("address", "local"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("localhost", True),
     ("::ffff:127.0.0.1", True), ("::ffff:10.0.0.1", False),
     ("0.0.0.0", False), ("10.0.0.1", False), ("host.example", False)],
)  # fmt: skip
def test_loopback_is_told_from_other_addresses(address: str, local: bool) -> None:
    assert is_loopback(address) is local
