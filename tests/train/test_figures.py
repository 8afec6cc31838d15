"""Pictures of a run: they appear, can be read, and show what they are given."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from lgg_runtime.cleanup import CleanupSettings
from lgg_runtime.volume import FLAIR
from lgg_train.decision import Decision
from lgg_train.evaluation import score
from lgg_train.figures import choose_panels, draw_curves, draw_panels, draw_precision_recall
from lgg_train.prediction import Prediction

DECISION = Decision(0.5, CleanupSettings(), "by hand")
HISTORY = [
    {"minutes": 0.1, "loss": 1.2, "dice_mean": 0.1, "dice_median": 0.05},
    {"minutes": 0.2, "loss": 0.7, "dice_mean": 0.6, "dice_median": 0.7},
]


def make_predictions(count, tumour=True):
    rng = np.random.default_rng(0)
    predictions = []
    for number in range(count):
        truth = np.zeros((3, 32, 32), bool)
        truth[1, 8:20, 6:16] = tumour
        p = np.where(truth, 0.9, 0.02).astype(np.float32)
        slices = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
        predictions.append(Prediction(f"PATIENT_{number}", slices, p, truth, (0, 1, 2), truth))
    return predictions


def read_picture(path):
    """(H, W, 3) of a PNG that is readable and not of one colour."""
    image = cv2.imread(str(path))
    assert image is not None
    assert image.std() > 1
    return image


def find_colour(image, red, green, blue):
    """Number of pixels of about this colour."""
    return int((np.abs(image.astype(int) - (blue, green, red)).max(axis=2) < 40).sum())


def test_curves_show_loss_and_dice(tmp_path):
    draw_curves(HISTORY, tmp_path / "curves.png")
    image = read_picture(tmp_path / "curves.png")
    assert image.shape == (440, 770, 3)
    assert find_colour(image, 214, 39, 40) > 50, "mean Dice in red"
    assert find_colour(image, 255, 127, 14) > 50, "median Dice in orange"


@pytest.mark.parametrize("name", HISTORY[0])
def test_every_number_of_the_history_changes_the_curves(tmp_path, name):
    draw_curves(HISTORY, tmp_path / "curves.png")
    before = read_picture(tmp_path / "curves.png")
    draw_curves([HISTORY[0], HISTORY[1] | {name: 0.4}], tmp_path / "curves.png")
    assert (read_picture(tmp_path / "curves.png") != before).any()


def test_nothing_covers_the_loss_where_it_ends(tmp_path):
    draw_curves(HISTORY, tmp_path / "curves.png")
    image = read_picture(tmp_path / "curves.png")
    columns = [image[250:365, column, None] for column in range(600, 675)]
    assert all(find_colour(column, 127, 127, 127) for column in columns)


def test_curves_of_a_single_validation_are_drawn(tmp_path):
    draw_curves(HISTORY[:1], tmp_path / "curves.png")
    read_picture(tmp_path / "curves.png")


@pytest.mark.parametrize("tumour", [True, False])
def test_precision_and_recall_mark_the_chosen_threshold(tmp_path, tumour):
    record = score(make_predictions(2, tumour), DECISION)
    draw_precision_recall(record, "test, split by patient", tmp_path / "pr.png")
    image = read_picture(tmp_path / "pr.png")
    red = np.abs(image.astype(int) - (40, 39, 214)).max(axis=2) < 40
    columns = np.flatnonzero(red.sum(axis=0) > 100)
    assert len(columns) > 0, "a red upright line"
    assert abs(columns.mean() / image.shape[1] - 0.53) < 0.06, "in the middle, at 0.5"


def test_precision_recall_and_f1_are_three_curves(tmp_path):
    values = np.arange(1, 100) / 100
    curve = [{"threshold": t, "precision": t, "recall": 1 - t} for t in values.tolist()]
    record = {"precision_recall": curve, "decision": {"threshold": 0.9}}
    draw_precision_recall(record, "a title", tmp_path / "pr.png")
    image = read_picture(tmp_path / "pr.png")
    # Away from frame, legend and title: F1, which is 2 t (1 - t), is about a half there.
    middle = image[180:260, 280:420]
    assert find_colour(image, 31, 119, 180) > 500, "precision in blue"
    assert find_colour(image, 255, 127, 14) > 500, "recall in orange"
    assert find_colour(middle, 0, 0, 0) > 100, "F1 in black"


@pytest.mark.parametrize(("patients", "rows"), [(1, 1), (4, 4), (9, 6)])
def test_panels_have_a_row_for_each_of_up_to_six_patients(tmp_path, patients, rows):
    draw_panels(make_predictions(patients), DECISION, tmp_path / "panels.png")
    image = read_picture(tmp_path / "panels.png")
    assert image.shape == (int(2.7 * rows * 110), 880, 3)
    assert find_colour(image, 0, 255, 0) > 50 * rows, "truth in lime"
    assert find_colour(image, 255, 0, 0) > 50 * rows, "mask in red"


def test_panels_escape_what_their_font_lacks_of_a_name(tmp_path):
    (one,) = make_predictions(1)
    draw_panels([replace(one, patient="Å_患者3")], DECISION, tmp_path / "name.png")
    draw_panels([replace(one, patient=r"Å_\u60a3\u80053")], DECISION, tmp_path / "escaped.png")
    assert (read_picture(tmp_path / "name.png") == read_picture(tmp_path / "escaped.png")).all()


def test_panels_show_a_long_name_from_its_beginning(tmp_path):
    (one,) = make_predictions(1)
    for beginning in ("LR", "RL"):
        path = tmp_path / f"{beginning}.png"
        draw_panels([replace(one, patient=beginning + "M" * 60)], DECISION, path)
    assert (read_picture(tmp_path / "LR.png") != read_picture(tmp_path / "RL.png")).any()


def find_some(patient, found):
    """A slice of seven pixels, of which the first six are tumour and the first `found` marked."""
    columns = np.arange(7).reshape(1, 1, 7)
    truth, probability = columns < 6, (columns < found).astype(np.float32)
    return Prediction(patient, np.zeros((1, 1, 7, 3), np.uint8), probability, truth, (0,), truth)


def test_panels_show_the_worst_patients_and_the_best():
    found = {"A": 2, "B": 6, "C": 0, "D": 4, "E": 1, "F": 5, "G": 3}
    predictions = [find_some(name, n) for name, n in found.items()]
    shown = [(p.patient, dice) for p, dice, _ in choose_panels(predictions, DECISION)]
    assert shown == [("C", 0), ("E", 2 / 7), ("A", 1 / 2), ("G", 2 / 3), ("D", 4 / 5), ("B", 1)]
    every = [p.patient for p, _, _ in choose_panels(predictions[:6], DECISION)]
    assert every == ["C", "E", "A", "D", "F", "B"]


def test_panels_show_the_slice_with_the_largest_tumour_of_those_that_count():
    truth = np.zeros((4, 4, 4), bool)
    truth[0] = truth[1, 0, :1] = truth[3, 0, :3] = True
    nothing = np.zeros(truth.shape, np.float32)
    slices = np.zeros((*truth.shape, 3), np.uint8)
    prediction = Prediction("A", slices, nothing, truth, (1, 2, 3), truth)
    ((shown, _, index),) = choose_panels([prediction], DECISION)
    assert shown is prediction
    assert index == 3


def test_panels_show_where_most_is_marked_in_a_patient_without_tumour():
    probability = np.zeros((4, 4, 4), np.float32)
    probability[0] = probability[1, 0, :1] = probability[2, 0, :3] = 0.9
    truth, slices = np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4, 3), np.uint8)
    prediction = Prediction("A", slices, probability, truth, (1, 2, 3), truth)
    ((_, dice, index),) = choose_panels([prediction], DECISION)
    assert dice == 0
    assert index == 2


def test_panels_show_flair_and_over_it_the_probability(tmp_path):
    probability = np.zeros((1, 32, 32), np.float32)
    probability[0, 8:24, 8:24] = 0.4
    slices = np.zeros((1, 32, 32, 3), np.uint8)
    slices[..., FLAIR] = 200
    none = np.zeros((1, 32, 32), bool)
    prediction = Prediction("A", slices, probability, none, (0,), none)
    draw_panels([prediction], DECISION, tmp_path / "panels.png")
    image = read_picture(tmp_path / "panels.png")
    whole = find_colour(image, 200, 200, 200)
    # Two whole pictures, and of the third what lies around the square, a quarter of it.
    square = find_colour(image, 162, 86, 119)
    assert whole > 50_000
    assert square == pytest.approx(whole / 11, rel=0.1)


def test_panels_without_tumour_and_without_a_finding_are_drawn(tmp_path):
    draw_panels(make_predictions(2, tumour=False), DECISION, tmp_path / "panels.png")
    image = read_picture(tmp_path / "panels.png")
    assert find_colour(image, 0, 255, 0) == find_colour(image, 255, 0, 0) == 0
