"""Command lines of Vision-LLM-Alignment: its flags keep their names; those without a meaning left say so."""

import difflib
import sys
from collections.abc import Sequence

# Flags that are accepted and do nothing, with the reason.
WITHOUT_MEANING = {
    "deepspeed": "the engine always runs on DeepSpeed",
    "deepspeed_config": "the engine writes its own configuration from the other flags",
    "deepscale": "the engine always runs on DeepSpeed",
    "deepscale_config": "the engine writes its own configuration from the other flags",
    "dataset_names": "the format is read from the records",
    "dataset_concatenate_samples": "use --packing to put several samples into a row",
    "max_num_image_per_sample": "a record may hold any number of images",
    "is_sft_stage": "the stage is known from the entrypoint",
    "max_training_samples_num": "the schedule is computed from the data",
    "align_overflow": "a step of actor or critic whose gradient is not finite moves nothing",
    "do_sample": "--temperature above 0 samples",
    "reward_base_model": "the reward model's folder holds its base",
    "reward_model_architecture": "read from the reward model's folder",
    "trained_reward_model": "--from_checkpoint may be a reward model, to train on",
    "lm_reward_model_name_or_path": "the reward model's folder holds its language model",
    "vision_reward_model_name_or_path": "the reward model's folder holds its vision tower",
    "lm_model_name_or_path": "--from_checkpoint holds the language model",
    "vision_model_name_or_path": "--from_checkpoint holds the vision tower",
    "vis_proj": "--from_checkpoint holds the projector",
    **{
        name: "a checkpoint holds merged weights"
        for name in (
            "lang_lora_dim",
            "lang_lora_module_name",
            "vis_lora_dim",
            "vis_lora_module_name",
            "only_optimize_lora",
        )
    },
    "enable_mmca_attention": "--from_checkpoint knows its attention",
}
SILENT = ("local_rank",)  # the launcher's own
OFF = {"none", "None", "", "0"}  # values that ask for nothing


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
        if name in WITHOUT_MEANING and name not in known:
            if not values or not set(values) <= OFF:
                print(f"--{' '.join([name, *values])}: has no effect: {WITHOUT_MEANING[name]}", flush=True)
        elif name in SILENT:
            pass
        elif name and name not in known:
            near = difflib.get_close_matches(name, sorted(known | set(WITHOUT_MEANING)), n=1)
            hint = f"; did you mean --{near[0]}?" if near else "; --help lists the flags"
            print(f"error: --{name}: unknown flag{hint}", file=sys.stderr)
            sys.exit(2)
        else:
            kept += argv[place:following]
        place = following
    return kept
