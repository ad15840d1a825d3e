"""Command lines of Vision-LLM-Alignment: its flags keep their names; those without a meaning left say so."""

import difflib
import sys
from collections.abc import Sequence

# Flags that are accepted and do nothing, with the reason; and how many values follow (None: any number).
WITHOUT_MEANING: dict[str, tuple[str, int | None]] = {
    "deepspeed": ("the engine always runs on DeepSpeed", 0),
    "deepspeed_config": ("the engine writes its own configuration from the other flags", 1),
    "deepscale": ("the engine always runs on DeepSpeed", 0),
    "deepscale_config": ("the engine writes its own configuration from the other flags", 1),
    "dataset_names": ("the format is read from the records", None),
    "dataset_concatenate_samples": ("use --packing to put several samples into a row", None),
    "max_num_image_per_sample": ("a record may hold any number of images", 1),
    "is_sft_stage": ("the stage is known from the entrypoint", 0),
    "max_training_samples_num": ("the schedule is computed from the data", 1),
    "align_overflow": ("actor and critic step together or not at all", 0),
    "do_sample": ("--temperature above 0 samples", 0),
    "reward_base_model": ("the reward model's folder holds its base", 1),
    "reward_model_architecture": ("read from the reward model's folder", 1),
    "trained_reward_model": ("--from_checkpoint may be a reward model, to train on", 1),
    "lm_reward_model_name_or_path": ("the reward model's folder holds its language model", 1),
    "vision_reward_model_name_or_path": ("the reward model's folder holds its vision tower", 1),
    "lm_model_name_or_path": ("--from_checkpoint holds the language model", 1),
    "vision_model_name_or_path": ("--from_checkpoint holds the vision tower", 1),
}
SILENT = {"local_rank": 1}  # the launcher's own
NONE_VALUES = ("none", "None", "")


def read_legacy_flags(argv: Sequence[str], known: set[str]) -> list[str]:
    """The command line without the flags that have lost their meaning, one printed line for each of them.

    An unknown flag ends the program with status 2 and names the nearest known one.
    """
    kept: list[str] = []
    place = 0
    while place < len(argv):
        argument = argv[place]
        name, equals, value = argument[2:].partition("=") if argument.startswith("--") else ("", "", "")
        following = place + 1
        while following < len(argv) and not argv[following].startswith("--"):
            following += 1
        values = [value] if equals else list(argv[place + 1 : following])
        if name in WITHOUT_MEANING or name in SILENT:
            if name in WITHOUT_MEANING and not set(values) <= set(NONE_VALUES) | {"0"}:
                print(f"--{name} {' '.join(values)}: has no effect; {WITHOUT_MEANING[name][0]}", flush=True)
            elif name in WITHOUT_MEANING and not values:
                print(f"--{name}: has no effect; {WITHOUT_MEANING[name][0]}", flush=True)
        elif name and name not in known:
            near = difflib.get_close_matches(name, sorted(known | set(WITHOUT_MEANING)), n=1)
            hint = f"; did you mean --{near[0]}?" if near else "; --help lists the flags"
            print(f"error: --{name}: unknown flag{hint}", file=sys.stderr)
            sys.exit(2)
        else:
            kept += argv[place:following]
        place = following
    return kept
