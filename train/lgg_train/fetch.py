"""Getting the public dataset: kagglehub where there is a network, a clear word where not."""

from __future__ import annotations

from pathlib import Path

from lgg_runtime.errors import MissingExtraError, NoInputError, first_line
from lgg_runtime.writers.atomic import find_nearest, make_folder, telling_refusal

DATASET = "mateuszbuda/lgg-mri-segmentation"
BY_HAND = (
    f"download the Kaggle dataset {DATASET} by hand and give the folder that holds kaggle_3m "
    "as DATA, or use DATA=phantom"
)


def fetch_dataset(out: Path) -> Path:
    """Download the dataset and link it as `out/kaggle_3m`; returns that path.

    Raises MissingExtraError without kagglehub, NoInputError where the download fails,
    ResourceError where the link cannot be looked for or made.
    """
    target = out / "kaggle_3m"
    if find_nearest(target) == target and target.is_dir():
        return target
    try:
        import kagglehub
    except ImportError as error:
        raise MissingExtraError(
            f"kagglehub is not installed; pip install 'lgg-edge[data]', or {BY_HAND}"
        ) from error
    try:
        fetched = Path(kagglehub.dataset_download(DATASET))
    except Exception as error:
        # requests', kagglehub's and the operating system's errors share no base.
        raise NoInputError(
            f"the dataset cannot be fetched ({first_line(error)}); {BY_HAND}"
        ) from error
    found = next(iter(sorted(fetched.rglob("kaggle_3m"))), None)
    if found is None:
        raise NoInputError(f"the download holds no kaggle_3m; {BY_HAND}")
    make_folder(out)
    with telling_refusal(target):
        if target.is_symlink():  # to a download that is gone
            target.unlink()
        target.symlink_to(found, target_is_directory=True)
    return target
