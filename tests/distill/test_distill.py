"""A student learns from a teacher of another size that sees pictures in another way."""

from statistics import fmean

import pytest
import torch
from torch.nn.functional import kl_div

from demo.model import TinyConfig, build_tiny_llava
from tests.conftest import RECORDS, SAMPLES, TINY_SHAPES
from tests.stages.conftest import log
from tests.stages.test_variants import settings
from training.distill.answers import given_answer
from training.distill.models import Student, Teacher
from training.distill.train_distill import main as train_distill
from training.utils.config.distill_config import DistillConfig
from training.utils.config.flags import ConfigError
from training.utils.data.loader import Collator, Data
from training.utils.data.record import DataError
from training.utils.files import jsonl


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The tokenizer of `tiny_llava`, wider layers, and pictures of 36 tokens where its have 16."""
    folder = tmp_path_factory.mktemp("teacher") / "llava"
    shapes = TINY_SHAPES | {"hidden_size": 64, "patch_px": 8}
    build_tiny_llava(TinyConfig(str(folder), str(SAMPLES), picture_px=48, vocab_size=400, **shapes))
    return folder


def distill_config(student, teacher, output, **more):
    given = {
        "teacher": str(teacher),
        "max_generation_length_of_sampling": 5,
        "learning_rate": 3e-3,
        "max_steps": 12,
    }
    given |= {"data_train_split_ratio": 0.5, "num_warmup_steps": 0.0, "precision": "fp32"}
    return DistillConfig(**settings(student, "ppo.json", output, **given | more))


@pytest.fixture
def data(encoder):
    class Train(list):
        has_images = True

    return Data(Train(RECORDS), [], None, encoder, encoder.encode_all)


def test_the_loss_is_the_divergence_of_both_models_by_themselves(
    tiny_llava, model, teacher, encoder, data, tmp_path
):
    """Each record's prompt by each model's own processor, and the same answers behind it, one row at a time."""
    config = distill_config(tiny_llava, teacher, tmp_path)
    taught = Teacher(config, data)
    assert not taught.reads_the_same
    trees = [given_answer(tree, encoder.stop_ids) for tree in encoder.encode_all(RECORDS)]
    batch = Collator(encoder, has_images=True)(trees)
    student = Student(model, encoder.family)
    losses = student(batch, taught.logits(trees, batch), 0.0)

    expected = []
    for record, tree in zip(RECORDS, trees, strict=True):
        for response in tree.responses:
            logits = []
            for read, of_model in ((encoder, model), (taught.encoder, taught.model.model)):
                prompt = read.encode(record).prompt_ids
                vision = read.look_at(record.images)[0] if record.images else {}
                row = torch.tensor([prompt + response.ids])
                with torch.no_grad():
                    out = of_model(input_ids=row, **vision).logits[0]
                logits.append(out[len(prompt) - 1 : -1].log_softmax(-1))
            expected.append(kl_div(logits[0], logits[1], log_target=True, reduction="none").sum(-1))
    torch.testing.assert_close(losses, torch.cat(expected), atol=1e-5, rtol=1e-4)


def test_a_student_comes_nearer_to_its_teacher_and_goes_on_as_if_it_had_not_stopped(
    tiny_llava, teacher, tmp_path
):
    config = distill_config(tiny_llava, teacher, tmp_path / "whole", save_step=6, save_total_limit=0)
    train_distill(config)
    lines = log(tmp_path / "whole")
    assert lines[-1]["loss"] < 0.6 * lines[0]["loss"]
    assert all(line["response_len"] <= 5 for line in lines)
    held_out = [line for line in jsonl.read(tmp_path / "whole" / "log.jsonl") if "eval_loss" in line]
    assert held_out[-1]["eval_loss"] < lines[0]["loss"]
    again = {"resume": str(tmp_path / "whole" / "checkpoint-6"), "save_step": 6}
    train_distill(distill_config(tiny_llava, teacher, tmp_path / "again", **again))
    assert [line["loss"] for line in log(tmp_path / "again")] == [line["loss"] for line in lines[6:]]


def test_the_records_answers_are_learned_for_a_share_of_the_prompts(tiny_llava, teacher, tmp_path):
    """The records' answers end, those of a model with random weights do not."""
    ended = {}
    for share in (0.0, 0.5, 1.0):
        more = {"data_path": str(SAMPLES / "sft.json"), "on_policy_share": share, "max_steps": 2}
        more["data_train_split_ratio"] = 1.0
        train_distill(distill_config(tiny_llava, teacher, tmp_path / str(share), **more))
        ended[share] = fmean(line["ended"] for line in log(tmp_path / str(share)))
    assert ended[1.0] < 0.2 < ended[0.5] < 0.9 < ended[0.0] == 1


def test_another_tokenizer_is_refused_by_name(tiny_llava, tmp_path, data):
    other = tmp_path / "other"
    build_tiny_llava(TinyConfig(str(other), str(SAMPLES), picture_px=32, vocab_size=300, **TINY_SHAPES))
    message = f"--teacher {other}: has another tokenizer than --from_checkpoint {tiny_llava} "
    with pytest.raises(DataError, match=message):
        Teacher(distill_config(tiny_llava, other, tmp_path / "run"), data)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"teacher": ""}, "--teacher: missing"),
        ({"jsd_beta": 1.5}, "--jsd_beta 1.5: expected 0 to 1"),
        ({"on_policy_share": 0.5, "num_generations": 2}, "--num_generations 2: expected 1 with"),
        ({"teacher_zero_stage": 2}, "--teacher_zero_stage 2: expected 0 or 3"),
        ({"max_tokens_per_batch": 99}, "not where responses are sampled"),
    ],
)
def test_a_mistake_is_told_at_once(more, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        distill_config("a", more.pop("teacher", "b"), tmp_path, **more)
