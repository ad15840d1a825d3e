"""Flags of the data that a stage reads."""

from dataclasses import dataclass

import torch

from ..process import dist
from .flags import May, flag, require


@dataclass(frozen=True)
class DataConfig:
    data_path: str = flag(
        "",
        "File of records, a folder or pattern of files, or several with spaces between; see data/README.md.",
        may=May.MOVE,
    )
    data_weights: list[float] = flag(
        [],
        "How often an epoch visits the records of each path: 1 once, 0.5 half of them; none: each once.",
        may=May.DIFFER_IN_RECORDS,
    )
    columns: list[str] = flag(
        [],
        "What the data call a field, as field=name: prompt=question images=pics.",
        may=May.DIFFER_IN_RECORDS,
    )
    image_folder: str | None = flag(
        None, "Folder that image paths start from; none: the folder of the data.", may=May.MOVE_PICTURES
    )
    dataset_samples: str = flag(
        "all", "Number of records to draw at random, or `all`.", may=May.DIFFER_IN_RECORDS
    )
    on_bad_record: str = flag(
        "error",
        "What a record that can't be used does: `error` or `skip` (and list).",
        may=May.DIFFER_IN_RECORDS,
    )
    verify_images: str = flag(
        "auto",
        "Look at each picture before the run: full, header, none; auto: full up to 50,000 records.",
        may=May.CHANGE,
    )
    num_workers: int = flag(
        -1,
        "Processes that encode records, for each training process; -1: cores that a GPU machine can spare.",
        may=May.CHANGE,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.data_path), "--data_path: missing; expected a file of records")
        require(
            self.on_bad_record in ("error", "skip"),
            f"--on_bad_record {self.on_bad_record}: unknown; expected error or skip",
        )
        require(
            self.dataset_samples == "all" or self.dataset_samples.isdigit(),
            f"--dataset_samples {self.dataset_samples}: expected a number or `all`",
        )

        require(
            self.verify_images in ("auto", "full", "header", "none"),
            f"--verify_images {self.verify_images}: unknown; expected auto, full, header or none",
        )
        require(
            all(weight > 0 for weight in self.data_weights),
            f"--data_weights {' '.join(map(str, self.data_weights))}: expected numbers above 0",
        )
        odd = [pair for pair in self.columns if len(pair.split("=")) != 2 or not all(pair.split("="))]
        require(not odd, f"--columns {' '.join(odd)}: expected field=name, e.g. prompt=question")

    @property
    def renamed_columns(self) -> tuple[tuple[str, str], ...]:
        """Names that a format knows, and what the data call them."""
        return tuple(tuple(pair.split("=")) for pair in self.columns)

    @property
    def workers(self) -> int:
        """Processes that encode records, for each training process. On a CPU the training needs every core."""
        if self.num_workers >= 0:
            return self.num_workers
        return min(4, dist.cores() - 1) if torch.cuda.is_available() else 0

    @property
    def num_samples(self) -> int | None:
        return None if self.dataset_samples == "all" else int(self.dataset_samples)
