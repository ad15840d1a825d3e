"""The flags of each stage: those that stages share, by concern (`model_config.py` and beside it), and its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .aspects import require_aspects
from .data_config import DataConfig
from .flags import May, flag, require, require_other_file
from .legacy_flags import OF_TRAINING
from .model_config import ModelConfig, PartsConfig
from .rewards_config import RewardsConfig
from .rollout_config import EngineConfig
from .train_config import TrainConfig


@dataclass(frozen=True)
class SFTConfig(TrainConfig, DataConfig, PartsConfig, ModelConfig):
    """Supervised fine-tuning."""

    def __post_init__(self) -> None:
        if not self.from_checkpoint and (self.lm_model_name_or_path or self.vision_model_name_or_path):
            for name in ("lm_model_name_or_path", "vision_model_name_or_path"):
                require(
                    bool(getattr(self, name)),
                    f"--{name}: missing; a model is built from both parts, or give --from_checkpoint",
                )
            object.__setattr__(self, "from_checkpoint", self.assembled)
        super().__post_init__()

    @property
    def assembled(self) -> str:
        """Where the model is that is built from parts first."""
        return str(Path(self.output_dir) / "assembled")

    @property
    def builds_model(self) -> bool:
        return self.from_checkpoint == self.assembled


@dataclass(frozen=True)
class RewardModelConfig(ModelConfig):
    """What a reward model is, or is to become."""

    trained_reward_model: str = flag(
        "", "Reward model to take in place of --from_checkpoint.", may=May.CHANGE
    )
    captions: str = flag(
        "",
        "Files with captions of the pictures, which it reads below the question (docs/reward_model.md).",
        may=May.MOVE_FILES,
    )

    def __post_init__(self) -> None:
        if self.trained_reward_model:
            object.__setattr__(self, "from_checkpoint", self.trained_reward_model)
        super().__post_init__()


@dataclass(frozen=True)
class RewardConfig(TrainConfig, DataConfig, RewardModelConfig):
    """Reward model."""

    loss_type: str = flag("ranking", "`ranking` of responses, or `regression` on the scores of the records.")
    margin: float = flag(
        0.0,
        "How far better responses should be ahead; times the difference of their scores, where given.",
        needs={"loss_type": ("ranking",)},
    )
    centering_coef: float = flag(0.0, "Weight of the squared sum of a prompt's scores; 0.01 is usual.")
    ranked_candidate_num: int = flag(0, "Responses of a prompt to use, the best first; 0: all.")
    aspects: list[str] = flag(
        [], "Names of what a record's `aspect` may be: the head has an output for each; none: one output."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require_aspects(self.aspects)
        require(
            self.loss_type in ("ranking", "regression"),
            f"--loss_type {self.loss_type}: unknown; expected ranking or regression",
        )

    @property
    def regresses(self) -> bool:
        return self.loss_type == "regression"


OF_ALL = ("plackett_luce", "biased_ranking")  # losses that rank all answers of a prompt


@dataclass(frozen=True)
class DPOConfig(TrainConfig, DataConfig, ModelConfig):
    """Direct preference optimisation."""

    # Policy and reference are compared on the same network, not on one with random holes.
    uses_dropout: ClassVar[bool] = False
    samples: ClassVar[bool] = False  # the answers itself (online_dpo_config.py)
    temperature: ClassVar[float] = 1.0  # of the log-probabilities

    data_train_split_ratio: float = flag(
        1.0,
        "Share of the records to train on, 0 to 1; at most 2,000 are held out, and none unless asked for.",
    )
    loss_type: list[str] = flag(
        ["sigmoid"],
        "Losses to add up, by their names in training/dpo/loss_types.py: sigmoid (DPO), robust, hinge, ipo, simpo, "
        "orpo, sft, kto, bco, mdpo, image_conditional, anchored, plackett_luce, biased_ranking.",
    )
    loss_weights: list[float] = flag([], "A weight for each loss; none: 1 each.")
    beta: float = flag(0.1, "Weight of the KL to the reference that DPO implies; of the odds ratio in ORPO.")
    label_smoothing: float = flag(
        0.0,
        "Share of labels taken to be wrong (cDPO, robust), 0 to 0.5.",
        needs={"loss_type": ("sigmoid", "robust", "mdpo", "biased_ranking")},
    )
    simpo_gamma: float = flag(0.5, "Margin that SimPO asks for.", needs={"loss_type": ("simpo",)})
    desirable_weight: float = flag(
        1.0, "Weight of desirable responses in KTO.", needs={"loss_type": ("kto",)}
    )
    undesirable_weight: float = flag(
        1.0, "Weight of undesirable responses in KTO.", needs={"loss_type": ("kto",)}
    )
    other_image: str = flag(
        "crop",
        "The image that mDPO compares with: a small `crop` of the right one, or it in `noise`.",
        needs={"loss_type": ("mdpo", "image_conditional")},
    )
    reference: str = flag(
        "", "Model that the policy is to stay close to; none: --from_checkpoint.", may=May.MOVE_MODEL
    )
    reference_cache: str = flag(
        "",
        "Folder to keep the reference's log-probabilities in: computed once, then no reference is loaded.",
        may=May.CHANGE,
        writes="folder",
    )
    ranked_candidate_num: int = flag(0, "Responses of a prompt to use, the best first; 0: all.")
    online: bool = flag(
        False,
        "Sample the answers in each step, and pair them by rewards; --online --help lists the flags of both "
        "(docs/dpo.md).",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.online == self.samples,
            f"--online {self.online}: expected without a value, in a command of its own; leave it out to learn from "
            "given answers, as rounds do",
        )
        require(
            0 <= self.label_smoothing <= 0.5, f"--label_smoothing {self.label_smoothing}: expected 0 to 0.5"
        )
        ranking = next((name for name in OF_ALL if name in self.loss_type), None)
        require(
            not ranking or self.ranked_candidate_num != 2,
            f"--loss_type {ranking}: ranks all answers of a prompt, and --ranked_candidate_num 2 takes the best two; "
            "give 0 for all of them (CANDIDATE_NUM=0 of run_dpo_training.sh)",
        )
        require(
            self.other_image in ("crop", "noise"),
            f"--other_image {self.other_image}: unknown; expected crop or noise",
        )
        require(
            "kto" not in self.loss_type or self.per_device_train_batch_size > 1,
            "--loss_type kto: needs --per_device_train_batch_size 2 or more: it compares with answers to others",
        )
        require(
            "kto" not in self.loss_type or not self.max_tokens_per_batch,
            "--max_tokens_per_batch: not with --loss_type kto, whose KL is that of a micro-batch's answers to other "
            "prompts: of records of one length it would be that of the length",
        )
        require(
            "kto" not in self.loss_type or not self.reference_cache,
            "--reference_cache: not with --loss_type kto, which pairs each prompt with another answer in each epoch",
        )
        require(
            self.label_smoothing < 0.5 or "robust" not in self.loss_type,
            f"--label_smoothing {self.label_smoothing}: expected less than 0.5 with --loss_type robust",
        )


@dataclass(frozen=True)
class PredictConfig(EngineConfig, RewardsConfig, DataConfig, ModelConfig):
    """Prediction. Rewards pick the best of several answers (best-of-n)."""

    needs_reward: ClassVar[bool] = False
    without_meaning: ClassVar[Mapping[str, str]] = OF_TRAINING

    output_path: str = flag("", "JSON Lines file to write.", may=May.CHANGE, writes="file")
    bench: str = flag(
        "",
        "Benchmark whose official files --data_path names (eval/README.md); none: records.",
        may=May.DIFFER_IN_RECORDS,
    )
    batch_size: int = flag(8, "Prompts that are answered at a time on each process.", may=May.CHANGE)
    max_new_tokens: int = flag(512, "Longest response in tokens.")
    num_return_sequences: int = flag(1, "Responses for each prompt.")
    temperature: float = flag(0.0, "Sampling temperature; 0 is greedy.")
    topk: int = flag(0, "Sample among the k likeliest tokens; 0: among all.")
    topp: float = flag(1.0, "Sample among the likeliest tokens with this total probability; 1: among all.")
    num_beams: int = flag(
        1, "Beams of beam search, which is not sampling: with --temperature 0 and one response."
    )
    part: str = flag(
        "",
        "K/N: answer the K-th of N parts alone, into which --seed divides the prompts; none: all.",
        may=May.DIFFER_IN_RECORDS,
    )
    data_output: str = flag(
        "",
        "JSON Lines file to write too: the prompts with all their answers, as records to score and learn from.",
        may=May.CHANGE,
        writes="file",
    )
    keep_cut: bool = flag(
        False,
        "Have answers there too that were cut off at --max_new_tokens.",
        may=May.CHANGE,
        needs={"data_output": ()},
    )
    legacy_output: bool = flag(False, "Also write ` ||| ` lines to a .res file.", may=May.CHANGE)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.output_path), "--output_path: missing; expected a file to write")
        for name in ("output_path", "data_output"):
            require_other_file(name, getattr(self, name), "data_path", self.data_path)
        require_other_file("data_output", self.data_output, "output_path", self.output_path)
        require(self.num_beams > 0, f"--num_beams {self.num_beams}: expected 1 or more")
        require(
            self.num_beams == 1 or (self.temperature == 0 and self.num_return_sequences == 1),
            f"--num_beams {self.num_beams}: expected 1 with --temperature above 0 or several --num_return_sequences",
        )
        require(
            self.num_beams == 1 or self.rollout_engine == "own",
            f"--num_beams {self.num_beams}: expected 1 with --rollout_engine {self.rollout_engine}",
        )
        number, of = self.which_part
        require(1 <= number <= of, f"--part {self.part}: expected K/N with K from 1 to N, e.g. 2/4")

    @property
    def which_part(self) -> tuple[int, int]:
        """Number of the part from 1, and how many there are; 0 of 0 where it can't be read."""
        number, _, of = (self.part or "1/1").partition("/")
        return (int(number), int(of)) if number.isdecimal() and of.isdecimal() else (0, 0)
