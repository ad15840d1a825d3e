"""vLLM reads what stages save: the folders of all families that it knows, and adapters. In fp32 its greedy answers
are those of plain transformers."""

from contextlib import contextmanager

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests import tiny_families
from tests.conftest import picture
from tests.stages.test_saving import sft
from tests.tiny_families import BUILDERS, build_tiny
from training.utils.model.build_model import get_family
from training.utils.model.save import save_model
from training.utils.rollouts.vllm_engine import SETTINGS

vllm = pytest.importorskip("vllm")
registry = pytest.importorskip("vllm.model_executor.models.registry")
LoRARequest = pytest.importorskip("vllm.lora.request").LoRARequest

# It has no Idefics 2, and since 0.11 no Llama 3.2 Vision. PaliGemma is below. Models from parts are our own.
UNKNOWN = (
    "idefics2",
    "llama-3.2-vision",
    "paligemma",
    *(name for name in BUILDERS if name.startswith("default")),
)
NUM_TOKENS = 12


@pytest.fixture(scope="module", autouse=True)
def what_it_needs():
    with pytest.MonkeyPatch.context() as patched:
        for name, value in SETTINGS.items():
            patched.setenv(name, value)
        patched.setattr(tiny_families, "HIDDEN", 128)  # heads of 32: on a CPU it computes no smaller ones
        # For each new architecture vLLM starts a process that imports all of it again, and looks at it there.
        patched.setattr(registry, "_run_in_subprocess", lambda look: look())
        yield


@torch.no_grad()
def answer(folder) -> tuple[list[int], list[float]]:
    """What transformers says of a picture: the likeliest tokens, and their log-probabilities."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder)
    given = processor(text=prompt(processor), images=[seen()], add_special_tokens=False, return_tensors="pt")
    model.generation_config.eos_token_id = None  # answers are of one length
    more = {"do_sample": False, "return_dict_in_generate": True, "output_logits": True}
    out = model.generate(**given, max_new_tokens=NUM_TOKENS, **more)
    ids = out.sequences[0, given["input_ids"].shape[1] :].tolist()
    logps = torch.cat(out.logits).log_softmax(-1)
    return ids, logps[range(len(ids)), ids].tolist()


@contextmanager
def opened(folder, **more):
    llm = vllm.LLM(
        model=str(folder),
        dtype="float32",
        enforce_eager=True,
        max_model_len=512,
        max_num_batched_tokens=512,
        max_num_seqs=2,
        limit_mm_per_prompt={"image": 1},
        disable_log_stats=True,
        **more,
    )
    yield llm
    llm.llm_engine.engine_core.shutdown()


def answer_of_vllm(folder, adapter=None) -> tuple[list[int], list[float]]:
    processor = AutoProcessor.from_pretrained(folder)
    ids = processor.tokenizer(prompt(processor), add_special_tokens=False).input_ids
    greedy = vllm.SamplingParams(temperature=0, max_tokens=NUM_TOKENS, ignore_eos=True, logprobs=0)
    with opened(folder, **({"enable_lora": True, "max_lora_rank": 8} if adapter else {})) as llm:
        (output,) = llm.generate(
            [{"prompt_token_ids": ids, "multi_modal_data": {"image": seen()}}],
            greedy,
            lora_request=LoRARequest("adapter", 1, str(adapter)) if adapter else None,
            use_tqdm=False,
        )
    said = output.outputs[0]
    return list(said.token_ids), [
        at[token].logprob for at, token in zip(said.logprobs, said.token_ids, strict=True)
    ]


def assert_same(found, expected) -> None:
    assert found[0] == expected[0]
    assert found[1] == pytest.approx(expected[1], abs=2e-5)


def prompt(processor) -> str:
    parts = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
    messages = [{"role": "user", "content": parts}]
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    # As Gemma 3's own template has it: vLLM does not find a picture with a line break behind it.
    return text.replace("<start_of_image>\n", "<start_of_image>")


def seen():
    return picture(3, (64, 64))


def saved(name, folder):
    model = build_tiny(name, folder / "model")
    family = get_family(name.partition(":")[0], model)
    read = family.load_model(str(model))
    save_model(family, read, folder / "saved", read.state_dict())
    family.load_processor(str(model)).save_pretrained(folder / "saved")
    return folder / "saved"


@pytest.mark.parametrize("name", [name for name in BUILDERS if name not in UNKNOWN])
def test_a_saved_model_answers_the_same(name, tmp_path):
    folder = saved(name, tmp_path)
    assert_same(answer_of_vllm(folder), answer(folder))


def test_paligemma_finds_all_of_its_weights(tmp_path):
    """It answers otherwise: to vLLM no token of a prompt sees those behind it, as in that model they do."""
    with opened(saved("paligemma", tmp_path)):
        pass  # a weight that is missing is an error


def test_what_a_stage_saves_answers_the_same_merged_and_as_an_adapter(tmp_path):
    folder = saved("llava", tmp_path)
    lora = {"lang_lora_dim": 8, "only_optimize_lora": True, "lang_decoder_update": False}
    sft(folder, tmp_path / "out", max_steps=2, learning_rate=0.1, **lora)
    epoch = tmp_path / "out" / "epoch-0"
    expected = answer(epoch)
    assert expected[0] != answer(folder)[0]
    assert_same(answer_of_vllm(epoch), expected)
    assert_same(answer_of_vllm(folder, epoch / "adapter"), expected)
