"""A micro-batch of SFT, reward model and DPO hardly ever waits for its device."""

import pytest

from tests.conftest import RECORDS
from tests.host_reads import on_device, reads
from tests.utils.model.test_families import tiny_of  # noqa: F401
from training.dpo.loss_types import WeightedLosses
from training.dpo.objective import preference_figures
from training.dpo.ranked import ranked_responses
from training.dpo.reference import response_logps
from training.reward_model.train_rm import response_losses
from training.utils.config.stage_config import DPOConfig, RewardConfig, SFTConfig
from training.utils.model.placeholders import find_places_on_the_cpu
from training.utils.model.policy import Policy
from training.utils.model.tower import share_towers
from training.utils.model.value_head import ValueModel

FAMILIES = ("llava", "llava_next", "llama-3.2-vision", "qwen2_5_vl")


def sft(models, batch, config):
    return -models[0](batch)


def rm(models, batch, config):
    losses, _ = response_losses(models[0], batch, config)
    return losses


def dpo(models, batch, config):
    policy, reference = models
    ref_logps = response_logps(reference, batch).detach()
    ranked = ranked_responses(batch, response_logps(policy, batch), ref_logps)
    preference_figures(ranked, config.beta)
    return WeightedLosses(config)(ranked)


STAGES = {
    "sft": (sft, SFTConfig, Policy, 1),
    "rm": (rm, RewardConfig, ValueModel, 1),
    "dpo": (dpo, DPOConfig, Policy, 2),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_micro_batch_reads_at_most_three_values_of_the_device(name, stage, tiny_of):  # noqa: F811
    tiny = tiny_of(name)
    losses, config_class, wrap, number = STAGES[stage]
    config = config_class(from_checkpoint="x", data_path="x", output_dir="x")
    models = []
    for _ in range(number):
        model = tiny.model
        find_places_on_the_cpu(model)
        tiny.family.freeze(model, vision=False, language=True)
        models.append(wrap(model, tiny.family))
    share_towers(*models)
    responses = 1 if stage == "sft" else 2
    records = [type(one)(**one.__dict__ | {"responses": one.responses[:responses]}) for one in RECORDS]
    batch = on_device(tiny.batch(*records))
    reads.clear()
    losses(models, batch, config).sum().backward()
    assert sum(reads.values()) <= 3, reads
