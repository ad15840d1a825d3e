"""vLLM reads what stages save: the folders of all families that it knows, and adapters. In fp32 its greedy answers
are those of plain transformers."""

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

# It has no Idefics 2, and since 0.11 no Llama 3.2 Vision; models from parts are this project's own, but for a LLaVA.
UNKNOWN = ("idefics2", "llama-3.2-vision", *(name for name in BUILDERS if name.startswith("default")))
NUM_TOKENS = 12


@pytest.fixture(scope="module", autouse=True)
def what_it_needs():
    with pytest.MonkeyPatch.context() as patched:
        for name, value in SETTINGS.items():
            patched.setenv(name, value)
        patched.setattr(tiny_families, "HIDDEN", 128)  # heads of 32: on a CPU it computes no smaller ones
        yield


@torch.no_grad()
def answer(folder) -> list[int]:
    """What transformers says of a picture."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder)
    given = processor(text=prompt(processor), images=[seen()], add_special_tokens=False, return_tensors="pt")
    given.pop("labels", None)
    length = {"max_new_tokens": NUM_TOKENS, "min_new_tokens": NUM_TOKENS, "do_sample": False}
    return model.generate(**given, **length)[0, given["input_ids"].shape[1] :].tolist()


def answer_of_vllm(folder, adapter=None) -> list[int]:
    more = {"enable_lora": True, "max_lora_rank": 8} if adapter else {}
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
    try:
        processor = AutoProcessor.from_pretrained(folder)
        ids = processor.tokenizer(prompt(processor), add_special_tokens=False).input_ids
        length = {"max_tokens": NUM_TOKENS, "min_tokens": NUM_TOKENS}
        (output,) = llm.generate(
            [{"prompt_token_ids": ids, "multi_modal_data": {"image": seen()}}],
            vllm.SamplingParams(temperature=0, ignore_eos=True, **length),
            lora_request=vllm.lora.request.LoRARequest("adapter", 1, str(adapter)) if adapter else None,
            use_tqdm=False,
        )
        return list(output.outputs[0].token_ids)
    finally:
        llm.llm_engine.engine_core.shutdown()


def prompt(processor) -> str:
    parts = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
    messages = [{"role": "user", "content": parts}]
    return processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def seen():
    return picture(3, (64, 64))


@pytest.mark.parametrize("name", [name for name in BUILDERS if name not in UNKNOWN])
def test_a_saved_model_answers_the_same(name, tmp_path):
    folder = build_tiny(name, tmp_path / "model")
    family = get_family(name.partition(":")[0], folder)
    model = family.load_model(str(folder))
    save_model(family, model, tmp_path / "saved", model.state_dict())
    family.load_processor(str(folder)).save_pretrained(tmp_path / "saved")
    assert answer_of_vllm(tmp_path / "saved") == answer(tmp_path / "saved")


def test_what_a_stage_saves_answers_the_same_merged_and_as_an_adapter(tmp_path):
    folder = build_tiny("llava", tmp_path / "model")
    lora = {"lang_lora_dim": 8, "only_optimize_lora": True, "lang_decoder_update": False}
    sft(folder, tmp_path / "out", max_steps=2, learning_rate=0.1, **lora)
    epoch = tmp_path / "out" / "epoch-0"
    expected = answer(epoch)
    assert expected != answer(folder)
    assert answer_of_vllm(epoch) == expected
    assert answer_of_vllm(folder, epoch / "adapter") == expected
