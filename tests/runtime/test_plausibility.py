"""The check of inputs: heads pass, other pictures are named, and nothing is refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lgg_bench.non_brain import draw_non_brain
from lgg_runtime.appearance import measure_slice
from lgg_runtime.plausibility import PlausibilitySettings, find_doubts, judge_slice
from lgg_train.phantom import PhantomSettings, make_phantom, write_phantoms

RANGES = PlausibilitySettings()
AIR_BELOW_0 = "air is far below 0; it should be about 0"


def test_a_head_is_not_doubted_whatever_its_scale_and_size(head: np.ndarray) -> None:
    assert find_doubts(head, RANGES) == ()
    assert find_doubts(head.astype(np.float32) * 17.5, RANGES) == ()
    assert find_doubts(head.astype(np.int16)[:, ::-1], RANGES) == ()
    assert find_doubts(np.repeat(np.repeat(head, 2, 1), 2, 2), RANGES) == ()


def test_a_head_is_doubted_where_its_air_is_far_below_0(head: np.ndarray) -> None:
    said = (AIR_BELOW_0,)
    values = head.astype(np.float32)
    assert find_doubts(values - 1024, RANGES) == said
    assert find_doubts(values.astype(np.int16) - 1024, RANGES) == said
    assert find_doubts(values / 127.5 - 1, RANGES) == said
    values -= 1024
    values[0, 0, :9] = 5000  # stray values make no bright level
    assert AIR_BELOW_0 in find_doubts(values, RANGES)


def test_a_head_whose_air_is_about_0_is_not(head: np.ndarray) -> None:
    values = head.astype(np.float32)
    assert find_doubts((values - values.mean()) / values.std(), RANGES) == ()  # z-scores
    assert find_doubts(values - 5, RANGES) == ()
    values[0, 0, :9] = -1000  # stray values
    values[..., 0] = -1024  # a sequence that is missing
    assert AIR_BELOW_0 not in find_doubts(values, RANGES)


def test_a_head_without_flair_is_doubted(head: np.ndarray) -> None:
    """As of pictures whose sequence was missing: no tumour is found in them."""
    values = head.copy()
    values[..., (0, 2)] = 0
    values[0] = 0
    assert find_doubts(values, RANGES) == (), "the others may be missing"
    for value in (0, 9):
        values = head.copy()
        values[..., 1] = value
        told = "FLAIR has one value throughout; is it missing?"
        assert told in find_doubts(values, RANGES)
        assert told in find_doubts(values.astype(np.float32) / 3, RANGES)


def test_pictures_that_are_no_brain_are_doubted() -> None:
    drawn = list(draw_non_brain(3, size=192, seed=11))
    doubted = [bool(find_doubts(pixels[None], RANGES)) for _, pixels in drawn]
    assert sum(doubted) >= 0.9 * len(drawn)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_picture_has_no_contrast(value: int) -> None:
    assert judge_slice(np.full((40, 30, 3), value, np.uint8), RANGES) == ("contrast",)


def test_a_volume_is_doubted_where_most_of_its_slices_are(head: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, *head.shape[1:]), np.uint8)
    noise = np.repeat(noise, len(head), axis=0)
    assert find_doubts(np.concatenate([head, noise]), RANGES) == (), "half of them are not most"
    (doubt,) = find_doubts(np.concatenate([head, noise, noise[:2]]), RANGES)
    assert doubt.startswith("does not look like brain MRI of the training data (")


@pytest.mark.parametrize("doubted", [0, 6, 7, 12])
@pytest.mark.parametrize("are_last", [False, True])
def test_no_more_slices_are_judged_than_the_answer_needs(
    head: np.ndarray, monkeypatch: pytest.MonkeyPatch, doubted: int, are_last: bool
) -> None:
    names = [("frame",)] * doubted + [()] * (12 - doubted)
    answers = iter(reversed(names) if are_last else names)
    monkeypatch.setattr("lgg_runtime.plausibility.judge_slice", lambda *_: next(answers))
    found = find_doubts(np.repeat(head[2:3], 12, axis=0), RANGES)
    assert bool(found) == (doubted > 6)
    judged = 12 - len(list(answers))
    assert judged == (12 if doubted > 6 or (not are_last and doubted == 6) else 6)


def test_of_a_long_volume_twelve_evenly_spaced_slices_are_judged(head: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (34, *head.shape[1:]), np.uint8)
    heads = np.repeat(head[2:3], 34, axis=0)
    is_third = (np.arange(34) % 3 == 0)[:, None, None, None]
    unlike = "does not look like brain MRI"
    assert unlike not in "".join(find_doubts(np.where(is_third, heads, noise), RANGES))
    assert unlike in "".join(find_doubts(np.where(is_third, noise, heads), RANGES))


def test_a_doubt_names_the_statistics_that_are_most_often_out_of_range(head: np.ndarray) -> None:
    measured = [measure_slice(pixels) for pixels in head]
    names = sorted(vars(RANGES))
    never, always = (-100.0, 100.0), (100.0, 101.0)

    def doubt(**changed: tuple[float, ...]) -> str:
        ranges = dict.fromkeys(names, never) | changed
        (said,) = find_doubts(head, PlausibilitySettings(**ranges))
        return said.partition(" (")[2].removesuffix(")")

    leans = sorted(found["lean"] for found in measured if found is not None)
    once = (-100.0, (leans[-2] + leans[-1]) / 2)
    assert doubt(rim=always) == "rim"
    assert doubt(rim=always, lean=once) == "rim"
    assert doubt(rim=always, lean=always) == "lean, rim"
    assert doubt(**dict.fromkeys(names, always)) == ", ".join(names[:4]), "four at most"


def test_slices_of_many_people_in_one_volume_are_doubted() -> None:
    """As of patient1.png, patient2.png: the clean-up would keep the tumour of one of them."""
    told = "neighbouring slices are no more alike than others; are they of one patient, in order?"
    settings = PhantomSettings(patients=12, slices=12, size=64, seed=7)
    patients = [make_phantom(number, settings)[0] for number in range(12)]
    of_many = np.stack([pixels[number] for number, pixels in enumerate(patients)])
    shuffled = np.random.default_rng(0).permutation(12)
    assert told in find_doubts(patients[0][shuffled], RANGES)
    for values in (of_many[shuffled], of_many[shuffled].astype(">i2"), of_many[shuffled] / 1e29):
        assert told in find_doubts(values, RANGES)
    assert told not in find_doubts(of_many[shuffled][:9], RANGES), "too few to tell"
    for pixels in patients:
        assert told not in find_doubts(pixels, RANGES)
    flickering = patients[0].astype(np.float32)
    flickering[::2] *= 1.5
    assert told not in find_doubts(flickering, RANGES)
    noise = np.random.default_rng(0).normal(0, 18, patients[0].shape)
    assert told not in find_doubts(patients[0] + noise, RANGES)


def test_the_run_tells_its_doubts_and_writes_all_the_same(
    tmp_path: Path,
    artifact: Path,
    call_infer: Callable[..., SimpleNamespace],
    write_picture: Callable[[Path, np.ndarray], Path],
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    write_picture(tmp_path / "in" / "noise" / "noise_1.png", noise)
    write_phantoms(tmp_path / "in", PhantomSettings(patients=1, slices=4, size=128, seed=7))
    done = call_infer(tmp_path / "in", "-o", tmp_path / "out", "-m", artifact)
    assert done.code == 0
    assert "Warning: noise: unlike the training data; see doubts in summary.csv" in done.out
    doubts = json.loads((tmp_path / "out" / "run.json").read_bytes())["doubts"]
    assert set(doubts) == {"noise"}
    table = (tmp_path / "out" / "summary.csv").read_bytes()
    rows = list(csv.DictReader(io.StringIO(table.decode(), newline="")))
    told = {(row["patient"], row["doubts"]) for row in rows if row["doubts"]}
    assert told == {("noise", doubts["noise"])}
    assert (tmp_path / "out" / "noise" / "noise_1_mask.png").exists()
    call_infer(tmp_path / "in", "-o", tmp_path / "out", "-m", artifact, "--resume")
    assert json.loads((tmp_path / "out" / "run.json").read_bytes())["doubts"] == doubts
    assert (tmp_path / "out" / "summary.csv").read_bytes() == table


def test_slices_of_an_odd_size_make_no_doubtful_patient_until_they_are_most(
    tmp_path: Path,
    artifact: Path,
    call_infer: Callable[..., SimpleNamespace],
    write_picture: Callable[[Path, np.ndarray], Path],
) -> None:
    settings = PhantomSettings(patients=1, slices=4, size=128, seed=7)
    (patient,) = write_phantoms(tmp_path / "in", settings)
    rng = np.random.default_rng(0)

    def doubts(number: int, side: int) -> list[str]:
        noise = rng.integers(0, 256, (side, side, 3), np.uint8)
        write_picture(patient / f"{patient.name}_{number}.png", noise)
        call_infer(tmp_path / "in", "-o", tmp_path / f"out{number}", "-m", artifact)
        run = json.loads((tmp_path / f"out{number}" / "run.json").read_bytes())
        return list(run["doubts"].values())

    assert doubts(5, 64) == []
    assert doubts(6, 64) == doubts(7, 80) == doubts(8, 96) == []
    (said,) = doubts(9, 64)
    reasons = said.split("; ")
    assert len(reasons) == len(set(reasons))


def test_one_statistic_far_out_or_three_a_little_are_a_doubt(head: np.ndarray) -> None:
    measured = measure_slice(head[2])
    assert measured is not None
    wide = {name: (value - 2, value - 1, value + 1, value + 2) for name, value in measured.items()}
    near = {n: (v - 2, v - 1, v - 0.5, v + 2) for n, v in measured.items()}
    far = {n: (v - 2, v - 1, v - 0.5, v - 0.5) for n, v in measured.items()}

    def judge(**changed: tuple[float, ...]) -> tuple[str, ...]:
        return judge_slice(head[2], PlausibilitySettings(**wide | changed))

    assert judge() == ()
    assert judge(oval=near["oval"], rim=near["rim"]) == ()
    assert judge(oval=near["oval"], rim=near["rim"], grain=near["grain"]) == (
        "oval", "rim", "grain",
    )  # fmt: skip
    assert judge(tail=far["tail"], rim=near["rim"]) == ("tail",)


def test_two_bounds_are_the_outer_ones(head: np.ndarray) -> None:
    measured = measure_slice(head[2])
    assert measured is not None
    ranges = {name: (value - 1, value + 1) for name, value in measured.items()}
    assert judge_slice(head[2], PlausibilitySettings(**ranges)) == ()
    ranges["rim"] = (measured["rim"] + 1, measured["rim"] + 2)
    assert judge_slice(head[2], PlausibilitySettings(**ranges)) == ("rim",)
