"""Training batches: a function of seed and step, with a share of tumour, of normalised slices."""

import collections
import itertools
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from lgg_runtime.errors import InputError, ResourceError, UsageError
from lgg_runtime.intensity import IntensitySettings, normalise
from lgg_runtime.volume import FLAIR, Volume
from lgg_train.cases import Case
from lgg_train.dataset import BATCHES_AHEAD, DRAWS, SampleSettings, TrainingSlices

SETTINGS = SampleSettings(batch=5, tumour=3, crop=16, seed=7)
INTENSITY = IntensitySettings()
DEADLINE_S = 30


def make_case(name, tumour, seed=0, size=24):
    """A slice for each entry of `tumour`, all of it tumour or nothing."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 200, (len(tumour), size, size, 3), dtype=np.uint8)
    masks = np.zeros((len(tumour), size, size), bool)
    masks[np.flatnonzero(tumour)] = True
    return Case(name, Volume(pixels), masks, "")


def make_slices(settings=SETTINGS, used=None, tumour=(0, 1, 0, 1)):
    cases = [make_case("A", tumour), make_case("B", (0, 0, 1), seed=1)]
    return TrainingSlices(
        cases, used or {"A": range(len(tumour)), "B": (0, 1, 2)}, INTENSITY, settings
    )


class Unchanged:
    """Stands in for the augmentation, and shows what enters it."""

    def set_random_seed(self, seed):
        self.seed = seed

    def __call__(self, **given):
        return given


def assert_same(one, other):
    for ours, theirs in zip(one, other, strict=True):
        assert torch.equal(ours, theirs)


def test_batches_have_the_shapes_and_types_that_the_loop_expects():
    slices, masks, complete = make_slices().batch(0)
    for pixels in (slices, complete):
        assert (tuple(pixels.shape), pixels.dtype) == ((5, 16, 16, 3), torch.uint8)
    assert (tuple(masks.shape), masks.dtype) == ((5, 1, 16, 16), torch.float32)
    assert set(masks.unique().tolist()) == {0.0, 1.0}


def test_complete_crops_keep_the_sequences_that_flair_stands_for_in_the_shown_ones():
    batches = [make_slices().batch(step) for step in range(8)]
    shown, complete = (torch.cat([part[index] for part in batches]).numpy() for index in (0, 2))
    np.testing.assert_array_equal(shown[..., FLAIR], complete[..., FLAIR])
    others = [channel for channel in range(3) if channel != FLAIR]
    replaced = 0
    for crop, whole in zip(shown, complete, strict=True):
        for channel in others:
            if (crop[..., channel] != whole[..., channel]).any():
                np.testing.assert_array_equal(crop[..., channel], whole[..., FLAIR])
                replaced += 1
    assert 8 <= replaced <= 72


def test_a_batch_depends_on_seed_and_step_alone():
    data = make_slices()
    first = [data.batch(step) for step in range(4)]
    for step in (3, 1, 2, 0):
        assert_same(data.batch(step), first[step])
        assert_same(make_slices().batch(step), first[step])
    assert not torch.equal(first[0].slices, first[1].slices)
    other = make_slices(SampleSettings(batch=5, tumour=3, crop=16, seed=8))
    for ours in first[:2]:  # and a step on is no other seed
        assert not torch.equal(other.batch(0).slices, ours.slices)


def test_each_crop_of_a_batch_is_augmented_by_draws_of_its_own():
    data = make_slices(SampleSettings(batch=16, tumour=16, crop=16), used={"A": (1,), "B": ()})
    shown, _, complete = data.batch(0)
    assert len({crop.numpy().tobytes() for crop in complete}) > 12
    replaced = (shown != complete).flatten(1).any(dim=1)
    assert 0 < int(replaced.sum()) < 16, "FLAIR stands in the place of others in half of the crops"


def test_the_named_set_of_augmentation_is_what_augments():
    shown, _, complete = make_slices(replace(SETTINGS, augmentation="mild", batch=16)).batch(0)
    assert torch.equal(shown, complete), "that set leaves the sequences as they are"


@pytest.mark.parametrize("tumour", [1, 3, 5])
def test_the_asked_number_of_crops_is_of_tumour_slices(tumour):
    data = make_slices(SampleSettings(batch=5, tumour=tumour, crop=16))
    for step in range(6):
        masks = data.batch(step).masks
        assert int(masks.flatten(1).any(dim=1).sum()) == tumour


@pytest.mark.parametrize("draw", DRAWS)
def test_slices_without_tumour_may_be_missing(draw):
    data = make_slices(replace(SETTINGS, draw=draw), used={"A": (1, 3), "B": (2,)})
    masks = data.batch(0).masks
    assert masks.flatten(1).any(dim=1).all()


@pytest.mark.parametrize(("draw", "share"), [("slice", 7 / 10), ("patient", 1 / 2)])
@pytest.mark.parametrize("tumour", [0, 1], ids=["without tumour", "with tumour"])
def test_the_larger_patient_s_slices_come_as_often_as_the_draw_says(
    monkeypatch, draw, share, tumour
):
    for name in ("build_augmentation", "build_replacement"):
        monkeypatch.setattr(f"lgg_train.crops.{name}", lambda *_: Unchanged())
    cases = [make_case("A", [0] * 7 + [1] * 7), make_case("B", [0] * 3 + [1] * 3, seed=1)]
    settings = SampleSettings(batch=16, tumour=16 * tumour, crop=24, draw=draw)
    used = {case.patient: range(len(case.masks)) for case in cases}
    data = TrainingSlices(cases, used, INTENSITY, settings)
    drawn = collections.Counter(
        row.numpy().tobytes() for step in range(100) for row in data.batch(step).slices
    )
    of_a, of_b = (
        [drawn[each.tobytes()] for each in normalise(case.volume.pixels, INTENSITY)[kept]]
        for case, kept in zip(cases, (slice(7 * tumour, 7 + 7 * tumour),
                                      slice(3 * tumour, 3 + 3 * tumour)), strict=True)
    )  # fmt: skip
    assert sum(of_a) + sum(of_b) == 1600
    assert sum(of_a) == pytest.approx(1600 * share, abs=100)
    for counts in (of_a, of_b):
        assert counts == pytest.approx([sum(counts) / len(counts)] * len(counts), abs=70)


def test_slices_without_any_tumour_are_refused():
    with pytest.raises(InputError, match="hold no tumour"):
        make_slices(used={"A": (0, 2), "B": (0, 1)})


def test_only_the_used_slices_count():
    data = make_slices(used={"A": (0, 1), "B": (2,)})
    assert len(data) == 3


def test_slices_are_normalised_over_the_whole_volume_of_their_patient(monkeypatch):
    for name in ("build_augmentation", "build_replacement"):
        monkeypatch.setattr(f"lgg_train.crops.{name}", lambda *_: Unchanged())
    cases = [make_case("A", (0, 1, 0, 1)), make_case("B", (0, 0, 1), seed=1)]
    used = {"A": (0, 1), "B": (2,)}
    expected = {
        normalise(case.volume.pixels, INTENSITY)[i].tobytes()
        for case in cases
        for i in used[case.patient]
    }
    data = TrainingSlices(cases, used, INTENSITY, SampleSettings(batch=8, tumour=4, crop=24))
    seen = {row.numpy().tobytes() for step in range(5) for row in data.batch(step).slices}
    assert seen == expected


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_go_on_from_any_step_and_are_the_same_from_processes(workers):
    data = make_slices()
    running = data.batches(3, workers)
    try:
        for step, batch in zip(range(3, 7), itertools.islice(running, 4), strict=True):
            assert_same(batch, make_slices().batch(step))
    finally:
        running.close()


class Steps:
    """Stands in for `batch`: gives the step, tells when one is made, and may fail at one."""

    def __init__(self, target, fails_at=None):
        self.made, self.target, self.fails_at = 0, target, fails_at
        self.reached = threading.Event()

    def __call__(self, step):
        assert threading.current_thread() is not threading.main_thread()
        self.made += 1
        if self.made == self.target:
            self.reached.set()
        if step == self.fails_at:
            raise LookupError("third")
        return step


def batches_of(steps):
    slices = make_slices()
    slices.batch = steps
    return slices.batches(0, 0)


def has_a_thread():
    return any(thread.name.startswith("batches") for thread in threading.enumerate())


def test_a_bounded_number_of_batches_is_made_before_they_are_asked_for():
    steps = Steps(target=3 + BATCHES_AHEAD)
    running = batches_of(steps)
    assert steps.made == 0
    assert [next(running) for _ in range(3)] == [0, 1, 2]
    assert steps.reached.wait(DEADLINE_S)
    running.close()
    assert steps.made == steps.target
    assert not has_a_thread()


def test_an_error_of_a_batch_is_raised_in_its_place_and_ends_the_thread():
    running = batches_of(Steps(target=0, fails_at=2))
    assert [next(running) for _ in range(2)] == [0, 1]
    with pytest.raises(LookupError, match="third"):
        next(running)
    assert not has_a_thread()


def test_opencv_has_no_threads_where_processes_begin_that_would_lack_them():
    """They would wait for these for ever."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(2)
    running = make_slices().batches(0, 1)
    try:
        next(running)
        assert cv2.getNumThreads() == 1
    finally:
        running.close()
        cv2.setNumThreads(threads)


def test_a_process_that_was_killed_is_told_once_and_by_its_option(monkeypatch):
    # PyTorch sets its handler once in a process, be it in an earlier test.
    monkeypatch.setattr("torch.utils.data._utils.signal_handling._SIGCHLD_handler_set", False)
    handler = signal.getsignal(signal.SIGCHLD)
    before = set(multiprocessing.active_children())
    running = make_slices().batches(0, 2)
    next(running)
    assert signal.getsignal(signal.SIGCHLD) == handler, "no error comes from anywhere else"
    worker = (set(multiprocessing.active_children()) - before).pop()
    worker.kill()
    worker.join()
    with pytest.raises(ResourceError, match=r"^--workers: .* was killed; .* for 2, give fewer$"):
        collections.deque(running, maxlen=0)


def test_a_closed_terminal_ends_no_process_before_its_parent():
    """Its traceback would stand in the log beside the parent's one line."""

    def stop(*_):
        raise KeyError

    handler = signal.signal(signal.SIGHUP, stop)
    before = set(multiprocessing.active_children())
    running = make_slices().batches(0, 1)
    try:
        next(running)
        worker = (set(multiprocessing.active_children()) - before).pop()
        os.kill(worker.pid, signal.SIGHUP)
        assert len(list(itertools.islice(running, 2 * BATCHES_AHEAD))) == 2 * BATCHES_AHEAD
    finally:
        running.close()
        signal.signal(signal.SIGHUP, handler)


@pytest.mark.skipif(sys.platform != "linux", reason="only there a fork is safe")
def test_the_processes_share_the_slices_however_python_starts_one_by_itself():
    data = make_slices()
    data.batch = lambda step: torch.tensor([step])  # what cannot be copied into another process
    own = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("forkserver", force=True)
    try:
        running = data.batches(7, 1)
        assert next(running).tolist() == [7]
        running.close()
    finally:
        multiprocessing.set_start_method(own, force=True)


def test_an_error_of_a_process_stays_what_it_is():
    data = make_slices()
    data.batch = lambda step: {}[step]
    with pytest.raises(KeyError, match="DataLoader worker"):
        next(data.batches(0, 1))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"batch": 8, "tumour": 9}, "--tumour: 9 of a batch of 8"),
        ({"batch": 8, "tumour": -1}, "--tumour: -1 of a batch of 8"),
        ({"batch": 0, "tumour": 0}, "batch 0"),
        ({"crop": 0}, "crop 0"),
        ({"crop": 2**29}, "batch 16, crop 536870912: no memory holds so many pixels"),
        ({"draw": "centre"}, "draw 'centre': expected slice or patient"),
        ({"augmentation": "weak"}, "augmentation 'weak': expected mild, plain, flair, strong"),
    ],
)
def test_impossible_samples_are_usage_errors(options, named):
    with pytest.raises(UsageError, match=named):
        SampleSettings(**options)


def test_too_little_shared_memory_for_the_workers_is_told_beforehand(monkeypatch):
    slices = make_slices()
    a_batch = sum(part.nbytes for part in slices.batch(0))
    usage = shutil.disk_usage("/")
    for free, is_enough in ((14 * a_batch - 1, False), (14 * a_batch, True)):
        monkeypatch.setattr(
            "lgg_train.dataset.shutil.disk_usage", lambda _, free=free: usage._replace(free=free)
        )
        if is_enough:
            slices.batches(0, 3).close()
            continue
        with pytest.raises(ResourceError, match=r"--workers 3: need 1 MiB of /dev/shm, 0 are free"):
            slices.batches(0, 3)
