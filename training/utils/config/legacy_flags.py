"""Command lines of Vision-LLM-Alignment: its flags keep their names; those without a meaning left say so."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from .flags import ConfigError

# What a model is built from. A checkpoint that is named holds it already.
PARTS = {
    "lm_model_name_or_path": "--from_checkpoint holds the language model",
    "vision_model_name_or_path": "--from_checkpoint holds the vision tower",
    "vis_proj": "--from_checkpoint holds the projector",
    "num_queries": "--from_checkpoint holds the projector",
    "enable_mmca_attention": "--from_checkpoint knows its attention",
}
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
    "lm_reward_model_name_or_path": "the reward model's folder holds its language model",
    "vision_reward_model_name_or_path": "the reward model's folder holds its vision tower",
    **PARTS,
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
}
# The same for commands that train nothing, and for those that generate nothing.
OF_TRAINING = {
    "data_debug_path": "`python -m data.check --output` shows records as they are read",
    **{
        name: "this command trains nothing"
        for name in (
            "per_device_train_batch_size",
            "gradient_checkpointing",
            "enable_tensorboard",
            "vis_encoder_update",
            "lang_decoder_update",
        )
    },
}
# The same in policy optimisation, whose models have flags of their own for it.
OF_ONE_MODEL = {
    "learning_rate": "set --actor_learning_rate and --critic_learning_rate",
    "zero_stage": "set --actor_zero_stage and --critic_zero_stage",
    "offload": "set --offload_actor_model and --offload_critic_model",
    "packing": "sampled responses have a row for each prompt",
}
OF_GENERATION = {
    name: "this command generates nothing"
    for name in ("max_new_tokens", "topk", "topp", "num_return_sequences", "temperature")
}
# Flags that name weights to load. Where a stage would not load them, that is an error.
NAMES_WEIGHTS = {
    "trained_reward_model": "this stage trains no reward model; --reward_model_ckpt_path names those that score",
    "sft_model_ckpt_path": "is --from_checkpoint now; use that name",
}
SILENT = ("local_rank",)  # the launcher's own
NONE = {"none", "None", "NONE", "null", ""}  # spellings of nothing
OFF = NONE | {"0"}  # values that ask for nothing


def read_flags(
    argv: Sequence[str], takes: Mapping[str, Any], optional: set[str], without_meaning: Mapping[str, str]
) -> list[str]:
    """The command line as the parser reads it: without the flags that have lost their meaning, one printed line for
    each of them, and without those that are given as `none`.

    Args:
        takes: how many values each known flag takes, as `nargs` of argparse.
        optional: flags whose default is nothing.
        without_meaning: flags that do nothing in this command, with the reason, besides `WITHOUT_MEANING`.

    Raises:
        ConfigError: a flag is unknown, has more values than it takes, or names weights that would not be loaded.
    """
    given = _split(argv)
    known = set(takes)
    if any(name == "from_checkpoint" and not set(values) <= NONE for name, values in given):
        known -= set(PARTS)
    kept: list[str] = []
    unused = {**WITHOUT_MEANING, **without_meaning}
    for name, values in given:
        if name in NAMES_WEIGHTS and name not in known and not set(values) <= OFF:
            raise ConfigError(f"--{' '.join([name, *values])}: {NAMES_WEIGHTS[name]}")
        if name == "dataset_samples" and len(values) > 1:
            values = _of_all_names(values)
        if name in known:
            if takes[name] in (None, "?") and len(values) > 1:
                raise ConfigError(f"--{' '.join([name, *values])}: takes one value, found {len(values)}")
            if name.replace("-", "_") in optional:
                wanted = [value for value in values if value not in NONE]
                kept += [f"--{name}", *wanted] if wanted or not values else []
            else:
                kept += [f"--{name}", *values]
        elif (spelled := name.replace("-", "_")) in unused:
            if not values or not set(values) <= OFF:
                print(f"--{' '.join([name, *values])}: has no effect: {unused[spelled]}", flush=True)
        elif name not in SILENT and name not in NAMES_WEIGHTS:
            near = difflib.get_close_matches(name, sorted({*takes, *unused}), n=1)
            hint = f"; did you mean --{near[0]}?" if near else "; --help lists the flags"
            raise ConfigError(f"--{name}: unknown flag{hint}")
    return kept


def _of_all_names(samples: list[str]) -> list[str]:
    """One number of records, where one was given for each name of --dataset_names: all names read the same file."""
    if not all(value == "all" or value.isdigit() for value in samples):
        return samples
    together = "all" if "all" in samples else str(sum(map(int, samples)))
    print(
        f"--dataset_samples {' '.join(samples)}: {together} of the records are drawn, since all --dataset_names read "
        "the same file",
        flush=True,
    )
    return [together]


def _split(argv: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The flags of a command line, each with the values that follow it.

    Raises:
        ConfigError: something stands before the first flag.
    """
    given: list[tuple[str, list[str]]] = []
    for argument in argv:
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            given.append((name, [value] if equals else []))
        elif argument == "-h":
            given.append(("help", []))
        elif not given:
            raise ConfigError(f"{argument}: belongs to no flag; expected --FLAG VALUE")
        else:
            given[-1][1].append(argument)
    return given
