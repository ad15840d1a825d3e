"""Sampling by vLLM, in the processes of the trainer.

vLLM reads no weights from disk: it starts from a folder with config and processor alone, and gets the policy's
weights then and whenever it wakes. So it samples with what is trained, adapters merged, and sees pictures as the
trainer does.
"""

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from ..checkpoint.random_state import undisturbed
from ..config.rollout_config import EngineConfig
from ..data.encode import Encoder, without_responses
from ..data.images import open_image
from ..data.record import DataError
from ..data.tree import Tree
from ..model.generate import Sampling
from ..process import dist
from ..process.told import Told
from .rollout_engine import Answers, Lend
from .weights import published_weights

SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in this process: weights are handed over as they are
    "VLLM_LOGGING_LEVEL": "CRITICAL",  # at an error it shows its whole input, pixels too; the exception comes here
    "VLLM_USE_V2_MODEL_RUNNER": "0",  # which a GPU has by default: it takes logits processors of another form
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
}
RELOAD_LOG = "vllm.model_executor.model_loader.reload.inplace"
MOST_SEEDS = 1 << 62  # vLLM takes 64 bits with a sign, and -1 for none


class WeightsMissing(Told):
    """The engine has weights that the policy did not send."""


def on_cpu(longest: int) -> dict[str, Any]:
    """What differs without a GPU: there are no graphs, compiling takes minutes, and vLLM's random numbers fail where
    a prompt is read in parts."""
    return {
        "enforce_eager": True,
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(longest, 4096),
    }


class VLLMEngine:
    """
    Args:
        lend: the policy whose weights it samples with.
        longest: tokens of a prompt with its response, at most.
    """

    def __init__(self, lend: Lend, encoder: Encoder, config: EngineConfig, longest: int) -> None:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            from vllm import LLM
            from vllm.platforms import current_platform

            from .vllm_parts import PolicyLoader
        except ImportError as error:
            raise DataError(
                f"--rollout_engine vllm: {error}; see that it was installed by `source scripts/setup_vllm.sh`, or "
                "leave the flag out"
            ) from None
        self.lend, self.encoder, self.shared_by = lend, encoder, config.rollout_tensor_parallel
        if dist.world_size() % self.shared_by:
            raise DataError(
                f"--rollout_tensor_parallel {self.shared_by}: does not divide the {dist.world_size()} processes"
            )
        self.sleeps = current_platform.is_sleep_mode_available()
        with tempfile.TemporaryDirectory() as folder, lend() as policy, undisturbed():
            model = policy.model.config
            model.save_pretrained(folder)
            encoder.processor.save_pretrained(folder)
            PolicyLoader.weights = published_weights(policy).items()
            longest = min(longest, getattr(model.get_text_config(), "max_position_embeddings", longest))
            try:
                self.llm = LLM(
                    model=folder,
                    load_format="policy",
                    dtype=str(policy.model.dtype).removeprefix("torch."),
                    max_model_len=longest,
                    gpu_memory_utilization=config.gpu_share,
                    enable_sleep_mode=self.sleeps,
                    **({} if self.sleeps else on_cpu(longest)),
                    tensor_parallel_size=self.shared_by,
                    distributed_executor_backend="external_launcher" if dist.world_size() > 1 else None,
                    generation_config="vllm",
                    seed=0,  # requests have seeds of their own
                    disable_log_stats=True,
                    logits_processors=["training.utils.rollouts.vllm_parts:Forbidden"],
                    additional_config={
                        "forbidden_ids": sorted(encoder.forbidden_ids),
                        "num_tokens": encoder.vocabulary.num_tokens,
                    },
                )
            except (NotImplementedError, ValueError) as error:  # what it says of models, settings and memory
                raise DataError(
                    f"--rollout_engine vllm: it does not start: {error}; docs/vllm.md names the models that were "
                    "tried, --rollout_gpu_share sets its memory, and without the flag the model samples by itself"
                ) from None
        PolicyLoader.weights = ()
        dist.closing.callback(self.llm.llm_engine.engine_core.shutdown)
        self._rest()

    @contextmanager
    def awake(self) -> Iterator[None]:
        if self.sleeps:
            torch.cuda.empty_cache()  # what the trainer holds unused is needed now
            self.llm.wake_up(tags=["weights"])
        self._send()
        if self.sleeps:
            self.llm.wake_up(tags=["kv_cache"])
        try:
            yield
        finally:
            self._rest()

    def _rest(self) -> None:
        if self.sleeps:
            self.llm.sleep(level=2)  # weights are sent again

    def _send(self) -> None:
        """Gives the engine the weights of the policy, and lets it forget what it worked out with others.

        Raises:
            WeightsMissing: some of its weights are none of the policy's.
        """
        with self.lend() as policy, _warnings(RELOAD_LOG) as warnings:
            weights = published_weights(policy)
            self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights.items())})
        missing = [line for line in warnings if "not loaded" in line]
        if missing:
            raise WeightsMissing(
                f"--rollout_engine vllm: weights of the engine are not among the policy's: {missing[0][:400]}; this "
                "version of vLLM knows the model by other names; see docs/vllm.md for the versions that were tried"
            )
        self.llm.reset_prefix_cache()
        self.llm.llm_engine.engine_core.reset_encoder_cache()

    def respond(
        self, prompts: Sequence[Tree], sampling: Sampling, num_samples: int, seeds: Sequence[int]
    ) -> list[Answers]:
        from vllm import SamplingParams

        from .vllm_parts import scale_logits, token_logps

        requests, seeds, mine = self._gathered([self._request(tree) for tree in prompts], seeds)
        greedy = sampling.temperature == 0
        self.llm.apply_model(partial(scale_logits, scale=1.0 if greedy else 1 / sampling.temperature))
        settings = [
            SamplingParams(
                n=num_samples,
                temperature=0.0 if greedy else 1.0,
                top_k=sampling.top_k,
                top_p=sampling.top_p,
                seed=seed % MOST_SEEDS,
                max_tokens=sampling.max_new_tokens,
                stop_token_ids=[*sampling.stop_ids],
                ignore_eos=True,  # it is one of those
                logprobs=0,
                detokenize=False,
            )
            for seed in seeds
        ]
        outputs = self.llm.generate(requests, settings, use_tqdm=False)[mine]
        return [
            Answers(
                list(output.prompt_token_ids),
                [list(answer.token_ids) for answer in output.outputs],
                [token_logps(answer.token_ids, answer.logprobs) for answer in output.outputs],
            )
            for output in outputs
        ]

    def _gathered(
        self, requests: list[dict], seeds: Sequence[int]
    ) -> tuple[list[dict], Sequence[int], slice]:
        """The requests of all processes that share the engine, which must hear the same, their seeds, and which of
        them are this process's."""
        if self.shared_by == 1:
            return requests, seeds, slice(None)
        first = dist.rank() - dist.rank() % self.shared_by
        shares = dist.gather_objects((requests, list(seeds)))[first : first + self.shared_by]
        before = sum(len(some) for some, _ in shares[: dist.rank() - first])
        everything = [each for some, _ in shares for each in some]
        return (
            everything,
            [seed for _, some in shares for seed in some],
            slice(before, before + len(requests)),
        )

    def _request(self, tree: Tree) -> dict:
        """A prompt with one marker for each of its pictures, which vLLM's own processor expands."""
        record = without_responses(tree.record)
        pictures = [open_image(picture) for picture in record.images]
        if not pictures:
            return {"prompt_token_ids": tree.prompt_ids}
        ids = self.encoder.marked_ids(record, [picture.size for picture in pictures])
        return {"prompt_token_ids": ids, "multi_modal_data": {"image": pictures}}


@contextmanager
def _warnings(name: str) -> Iterator[list[str]]:
    """What a logger says within."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger(name)
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
