"""What a person sees of a run: a progress bar, log.jsonl, TensorBoard, Weights & Biases, curves.png."""

import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

from ..config.train_config import TrainConfig
from ..files import jsonl
from ..picture import drawn
from ..process import dist

UNITS = {
    "kl": "nats",
    "policy_kl": "nats a token",
    "sampling_s": "s",
    "lr": "per step",
    "response_len": "tokens",
    "tokens_per_s": "tokens/s",
    "peak_gib": "GiB",
    "loss": "nats",
}
HIDDEN = {
    "step",
    "epoch",
    "elapsed_s",
    "eta_s",
    "lr",
    "grad_norm",
    "tokens_per_s",
    "eval_share",
    "padding",
    "data_wait",
}  # not in the bar
QUIET_S = 10.0  # seconds between lines where there is no terminal


class Meter:
    """Shows and logs the figures of each step. Only the main process does."""

    def __init__(self, config: TrainConfig, total_steps: int, start_step: int) -> None:
        self.folder = Path(config.output_dir)
        self.file = self.folder / "log.jsonl"
        self.total_steps = total_steps
        self.start_step = start_step
        self.started = self.last = time.monotonic()
        self._evaluating_s = 0.0
        self._writers = []
        self._bar = None
        if not dist.is_main():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        jsonl.cut_after(self.file, start_step)
        if "tensorboard" in config.loggers:
            from torch.utils.tensorboard import SummaryWriter

            board = SummaryWriter(str(self.folder / "tensorboard"))
            self._writers.append(lambda step, f: [board.add_scalar(n, v, step) for n, v in f.items()])
        if "wandb" in config.loggers:
            import wandb

            wandb.init(project="vision-llm-alignment", name=self.folder.name, config=asdict(config))
            self._writers.append(lambda step, f: wandb.log(f, step=step))
        terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=total_steps,
            initial=start_step,
            unit="step",
            dynamic_ncols=terminal,
            mininterval=0.1 if terminal else QUIET_S,
            maxinterval=QUIET_S,
        )

    def has_logged(self, name: str) -> bool:
        """Whether a figure stands in the log, also of earlier starts of the run. All processes must call it."""

        def look() -> bool:
            return self.file.is_file() and any(name in line for line in jsonl.read(self.file))

        return dist.from_main(look)

    def step(self, step: int, tokens: float, waited_s: float = 0.0, **figures: float) -> None:
        """Figures of an optimizer step, averaged over all processes.

        Args:
            tokens: how many tokens all processes computed on, prompts and images included.
            waited_s: how long the process waited for its data that waited longest, seconds.
        """
        if self._bar is None:
            return
        now = time.monotonic()
        figures["tokens_per_s"] = tokens / (now - self.last)
        figures["data_wait"] = waited_s / (now - self.last)  # of the step's time
        elapsed = now - self.started
        done = step - self.start_step
        figures["elapsed_s"] = elapsed
        if torch.cuda.is_available():
            figures["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30  # of this process, so far
        figures["eta_s"] = elapsed / done * (self.total_steps - step)
        self.last = now
        self._log(step, figures)
        shown = {name: f"{value:.3g}" for name, value in figures.items() if name not in HIDDEN}
        shown["tok/s"] = f"{figures['tokens_per_s']:,.0f}"
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(1)

    def log_eval(self, step: int, **figures: float) -> None:
        """Figures on held-out records, right behind `step`, and the share of its time that the run evaluates."""
        if self._bar is None:
            return
        now = time.monotonic()
        self._evaluating_s += now - self.last
        figures["eval_share"] = self._evaluating_s / (now - self.started)  # of the run's time so far
        self._log(step, figures)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self._bar.write(f"step {step}: {shown}")
        self.last = now  # evaluation does not count as training time

    def _log(self, step: int, figures: dict[str, float]) -> None:
        jsonl.append(self.file, {"step": step} | figures)
        for write in self._writers:
            write(step, figures)

    def close(self) -> None:
        """Ends the bar and draws the curves."""
        if self._bar is not None:
            self._bar.close()
            draw_curves(self.file, self.folder / "curves.png")


def draw_curves(log: Path, picture: Path) -> None:
    """One panel for each figure in a log, against optimizer steps."""
    lines = jsonl.read(log)
    names = [name for name in dict.fromkeys(n for line in lines for n in line) if name not in HIDDEN - {"lr"}]
    trained = [name for name in names if not name.startswith("eval_")]
    panels = trained + [name for name in names if name.startswith("eval_") and name[5:] not in trained]
    if not panels:
        return
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    size = (4.2 * columns, 2.8 * rows)
    with drawn(picture, rows, columns, figsize=size, squeeze=False) as axes:
        for axis, name in zip(axes.flat, panels, strict=False):  # the last row may have more axes
            for series, style in ((name, "-"), (f"eval_{name}", "o-")):
                points = [(line["step"], line[series]) for line in lines if line.get(series) is not None]
                if points:
                    label = "held out" if series.startswith("eval_") else "training"
                    axis.plot(*zip(*points, strict=True), style, label=label, markersize=4, linewidth=1.2)
            axis.set_title(name.replace("_", " "), fontsize=10)
            axis.set_xlabel("optimizer step", fontsize=8)
            axis.set_ylabel(UNITS.get(name, ""), fontsize=8)
            axis.tick_params(labelsize=8)
            axis.grid(alpha=0.3)
            axis.legend(fontsize=7, frameon=False)
        for axis in list(axes.flat)[len(panels) :]:
            axis.remove()
