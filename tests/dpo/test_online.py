"""DPO on answers that the policy samples: what is compared, by hand; whole runs; what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import logsigmoid
from transformers import LlavaForConditionalGeneration

from tests.conftest import SAMPLES
from tests.ppo.fake_engine import FakeEngine
from tests.stages.conftest import command, log, run, weights
from tests.stages.test_variants import settings
from training.dpo import train_online
from training.dpo.mean_reward import MeanReward
from training.dpo.sampled import compare
from training.rewards.observed import Observed
from training.utils.config.arguments import parse_args
from training.utils.config.flags import ConfigError
from training.utils.config.online_dpo_config import OnlineDPOConfig
from training.utils.data.loader import Collator
from training.utils.data.record import DataError
from training.utils.data.tree import Tree
from training.utils.rollouts import responder
from training.utils.rollouts.gap import EngineGap

TIMES = ("_s", "_gib", "_share", "data_wait")


def parity(record, responses):
    """Even numbers of letters are better; to three of four questions all answers are alike."""
    kept = int.from_bytes(record.id.encode()) % 4 == 0
    return [float(len(text) % 2) if kept else 0.0 for text in responses]


def alike(record, responses):
    return [0.0 for _ in responses]


def length(record, responses):
    return [float(len(text)) for text in responses]


def config(model, output, **more):
    own = {"online": True, "reward_functions": [f"{__name__}:length"], "num_generations": 3, "seed": 7}
    own |= {"max_generation_length_of_sampling": 6, "max_steps": 2, "learning_rate": 1e-2}
    return OnlineDPOConfig(**settings(model, "ppo.json", output, **own | more))


def train(model, output, **more):
    torch.manual_seed(0)
    train_online.main(config(model, output, **more))
    return [{k: v for k, v in line.items() if not k.endswith(TIMES)} for line in log(output)]


@pytest.fixture
def observed(encoder):
    """Three prompts with three answers each, of one token or two; one of them is cut."""

    def of_scores(*scores, cut=()):
        trees = [
            Tree(str(n), [5, 6], [False] * 2).with_responses([[7, 2], [9] if n in cut else [2], [8, 2]], {2})
            for n in range(3)
        ]
        batch = Collator(encoder, has_images=False)(trees)
        ref_logps = -torch.arange(15.0)[: len(batch.label_ids)]
        ones = torch.ones_like(ref_logps)
        return Observed(trees, batch, torch.tensor(scores), {}, ref_logps + 1, ones, ref_logps, token_kl=ones)

    return of_scores


def test_the_best_is_set_against_the_worst_and_a_cut_answer_is_worth_less(tiny_llava, tmp_path, observed):
    """Prompt 0: 3 above 0. Prompt 1: all equal. Prompt 2: its best is cut, so that 4 less 3 stands below 2."""
    seen = observed(0.0, 3.0, 1.5, 1.0, 1.0, 1.0, 2.0, 4.0, 0.5, cut=(2,))
    found = compare(seen, config(tiny_llava, tmp_path, missing_eos_penalty=3.0))
    assert found.counts == 2 and [tree.id for tree in found.trees] == ["0", "2"]
    answers = [[response.ids for response in tree.responses] for tree in found.trees]
    assert answers == [[[2], [7, 2]], [[7, 2], [8, 2]]]
    scores = [[response.score for response in tree.responses] for tree in found.trees]
    assert scores == [pytest.approx([1.5, -1.5]), pytest.approx([2 - 3.5 / 3, 0.5 - 3.5 / 3])]
    # Tokens 0 and 1 are of the first answer, 2 of the second; from 10 on those of prompt 2.
    ref_logps = [[response.ref_logp for response in tree.responses] for tree in found.trees]
    assert ref_logps == [[-2, -1], [-21, -27]]
    assert found.figures == {"unpaired": (1, 3), "score_gap": (4.5, 2)}
    kl, num = seen.figures["kl"]
    assert float(kl) == 15 and num == 9  # a nat for each token

    ranked = compare(seen, config(tiny_llava, tmp_path, pick="ranked", margin=2.0))
    assert [[r.ids for r in tree.responses] for tree in ranked.trees] == [
        [[2], [8, 2], [7, 2]],
        [[9], [7, 2], [8, 2]],
    ]
    nothing = compare(observed(*[1.0] * 9), config(tiny_llava, tmp_path))
    assert nothing.counts == 0 and len(nothing.trees) == 1  # it stands in


def test_the_loss_is_dpo_of_what_plain_transformers_says_of_the_pairs(tiny_llava, tmp_path, monkeypatch):
    """-log sigmoid(beta (log-ratio of the better answer less that of the worse)), OAIF's equation 1, by hand."""
    other = tmp_path / "other"
    train(tiny_llava, other, max_steps=3, learning_rate=3e-2)
    reference = other / (other / "latest").read_text().strip()
    learned = []

    def kept(*args):
        learned.append(compare(*args))
        return learned[-1]

    monkeypatch.setattr(train_online, "compare", kept)
    line = train(tiny_llava, tmp_path / "out", max_steps=1, beta=0.5, reference=str(reference))[0]
    policy, frozen = (
        LlavaForConditionalGeneration.from_pretrained(f).eval() for f in (tiny_llava, reference)
    )

    @torch.no_grad()
    def logp(model, tree, response):
        ids = torch.tensor([tree.prompt_ids + response.ids])
        logits = model(input_ids=ids, **tree.vision).logits[0].log_softmax(-1)
        first = len(tree.prompt_ids)
        return sum(float(logits[first + n - 1, token]) for n, token in enumerate(response.ids))

    margins = []
    for tree in learned[0].trees:
        better, worse = (logp(policy, tree, r) - logp(frozen, tree, r) for r in tree.responses)
        margins.append(0.5 * (better - worse))
    assert len(margins) > 3 and max(map(abs, margins)) > 0.05
    assert line["loss"] == pytest.approx(-float(logsigmoid(torch.tensor(margins)).mean()), rel=1e-4)
    assert line["margin"] == pytest.approx(sum(margins) / len(margins), abs=1e-4)


@pytest.mark.parametrize(
    "more",
    [{}, {"pick": "ranked", "loss_type": ["plackett_luce", "bco", "sft"], "loss_weights": [1.0, 0.2, 0.1]}],
    ids=["best_worst", "ranked"],
)
def test_the_reward_rises(more, tiny_llava, taste, tmp_path):
    run = {"reward_functions": [], "reward_model_ckpt_path": [str(taste)], "max_steps": 25, "beta": 0.1}
    run |= {"num_generations": 4, "max_generation_length_of_sampling": 3, "missing_eos_penalty": 0.0}
    held_out = {"eval_data_path": str(SAMPLES / "ppo.json"), "eval_samples": 8, "eval_step": 10}
    lines = train(tiny_llava, tmp_path, **run, **held_out, **more)
    first, last = (sum(line["reward"] for line in part) / 3 for part in (lines[:3], lines[-3:]))
    assert last > first + 0.7
    assert lines[0]["kl"] == pytest.approx(0, abs=1e-4) and lines[-1]["kl"] > 0.05
    assert lines[0]["response_len"] == 3 and "ended" in lines[0]
    written = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert sum("eval_reward" in line for line in written) == 3


@pytest.mark.parametrize("lora", [{}, {"lang_lora_dim": 2, "only_optimize_lora": True}], ids=["full", "lora"])
def test_a_run_that_goes_on_ends_with_the_same_weights(lora, tiny_llava, tmp_path):
    more = {"loss_type": ["sigmoid", "bco"], "max_steps": 3, "save_step": 1, "save_total_limit": 0, **lora}
    more |= {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "temperature": 1.3}
    whole = train(tiny_llava, tmp_path / "whole", **more)
    more |= {"resume": str(tmp_path / "whole" / "checkpoint-1")}
    resumed = train(tiny_llava, tmp_path / "resumed", **more)
    assert resumed == whole[1:]
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "resumed")
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_answers_of_equal_worth_move_nothing_and_are_not_remembered(tiny_llava, tmp_path, monkeypatch):
    remembered = []
    monkeypatch.setattr(MeanReward, "see", lambda memory, rewards: remembered.extend(rewards.tolist()))
    more = {"reward_functions": [f"{__name__}:alike"], "loss_type": ["sigmoid", "sft", "bco"]}
    lines = train(tiny_llava, tmp_path, **more)
    assert [(line["unpaired"], line["empty_steps"]) for line in lines] == [(1, 1), (1, 2)]
    assert remembered == [] and not {"loss", "accuracy", "score_gap"} & lines[0].keys()
    before, after = load_file(tiny_llava / "model.safetensors"), weights(tmp_path)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.dist
def test_two_processes_equal_one_also_where_one_has_no_pair(tiny_llava, tmp_path):
    flags = ["--online", "--reward_functions", f"{__name__}:parity", "--num_generations", 3, "--seed", 7]
    flags += ["--max_generation_length_of_sampling", 6, "--max_steps", 3, "--loss_type", "sigmoid", "bco"]
    flags += ["--data_train_split_ratio", 1, "--dataset_samples", 12]
    one, two = tmp_path / "one", tmp_path / "two"
    data = SAMPLES / "ppo.json"
    more = ["--per_device_train_batch_size", 1, "--gradient_accumulation_steps"]
    run(command("dpo", tiny_llava, one, *flags, *more, 4, data=data))
    run(command("dpo", tiny_llava, two, *flags, *more, 2, "--zero_stage", 3, data=data), processes=2)
    unpaired = [line["unpaired"] for line in log(one)]
    assert 1 in unpaired and 0 < min(unpaired) < 1  # a step without any pair, and others
    assert log(one)[-1]["empty_steps"] == log(two)[-1]["empty_steps"] == unpaired.count(1)
    for name in ("loss", "grad_norm", "reward", "unpaired", "kl"):
        found = [[line.get(name, 0) for line in log(output)] for output in (one, two)]
        assert found[0] == pytest.approx(found[1], rel=1e-4, abs=1e-6), name
    expected, found = weights(one), weights(two)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-5, rtol=0, msg=name)


def test_an_engine_whose_weights_do_not_arrive_stops_the_run(tiny_llava, tmp_path, monkeypatch):
    def build(given, lend, encoder, **sizes):
        with lend() as policy:
            return FakeEngine(policy, encoder, "stale weights")

    monkeypatch.setattr(responder, "build_rollout_engine", build)
    with pytest.raises(EngineGap, match="step 2: .*has the weights that the run began with"):
        train(tiny_llava, tmp_path, learning_rate=5e-2, lr_scheduler_type="constant")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("--num_generations 1", "--num_generations 1: expected 2 or more with --online"),
        ("--reference_cache cache", "--reference_cache: not with --online"),
        ("--loss_type sigmoid kto --per_device_train_batch_size 2", "--loss_type kto: not with --online"),
        ("--loss_type mdpo", "--loss_type mdpo: not with --online; it compares with other pictures"),
        ("--loss_type plackett_luce", "--loss_type plackett_luce: ranks all answers; expected --pick ranked"),
        ("--loss_type bco sft", "--loss_type bco sft: compares no answers"),
        ("--pick pairs", "--pick pairs: unknown"),
        ("--margin -1", "--margin -1: expected 0 or more"),
        ("--online false", "--online False: expected without a value"),
        ("--cache_image_features f", "--cache_image_features: not where responses are sampled"),
        ("--max_tokens_per_batch 512", "--max_tokens_per_batch 512: not where responses are sampled"),
    ],
)
def test_what_does_not_go_together_is_refused_at_the_start(wrong, message, capsys):
    given = f"--online --reward_functions a:b --from_checkpoint a --data_path b --output_dir c {wrong}"
    with pytest.raises(SystemExit):
        parse_args(OnlineDPOConfig, given.split())
    assert message in capsys.readouterr().err


def test_rewards_are_needed_and_labels_where_they_check_them(tiny_llava, tmp_path, capsys):
    with pytest.raises(ConfigError, match="--reward_model_ckpt_path: missing"):
        config(tiny_llava, tmp_path, reward_functions=[])
    with pytest.raises(DataError, match="has no label"):
        train(tiny_llava, tmp_path / "out", reward_functions=["exact"])
    given = (
        "--online --ranked_candidate_num 2 --rewards length --from_checkpoint a --data_path b --output_dir c"
    )
    assert parse_args(OnlineDPOConfig, given.split()).ranked_candidate_num == 0
    assert "--ranked_candidate_num 2: has no effect: answers are sampled" in capsys.readouterr().out
