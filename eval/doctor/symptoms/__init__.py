"""What is looked at. A new symptom is a function in a file here, and a line in this table.

What is equally bad is told in the order of the table: what brings other things about comes first.
"""

from eval.doctor.finding import Symptom
from eval.doctor.symptoms.learning import (
    bad_steps,
    frozen,
    learning_rate_high,
    learning_rate_low,
    wrong_template,
)
from eval.doctor.symptoms.pictures import blind_data, blind_model, blind_reward_model
from eval.doctor.symptoms.policy import (
    answer_not_learned,
    dull_groups,
    kl_runaway,
    length,
    lost_eos,
    saturated_rewards,
)
from eval.doctor.symptoms.preferences import away_from_chosen, saturated_reward_model, swapped_pairs

SYMPTOMS = (
    Symptom(bad_steps),
    Symptom(blind_data),
    Symptom(blind_model, ("sft", "reward_model", "dpo")),
    Symptom(wrong_template),
    Symptom(learning_rate_high),
    Symptom(learning_rate_low, ("sft", "reward_model", "dpo")),
    Symptom(swapped_pairs, ("dpo",)),
    Symptom(away_from_chosen, ("dpo",)),
    Symptom(saturated_reward_model, ("reward_model",)),
    Symptom(blind_reward_model, ("reward_model",)),
    Symptom(saturated_rewards, ("ppo",)),
    Symptom(kl_runaway, ("ppo",)),
    Symptom(lost_eos, ("ppo",)),
    Symptom(dull_groups, ("ppo",)),
    Symptom(frozen),
    Symptom(answer_not_learned, ("ppo",)),
    Symptom(length, ("ppo",)),
)
