"""What commands that take vLLM import, in its settings."""

import os

from training.utils.rollouts.vllm_engine import SETTINGS

os.environ.update(SETTINGS)

import vllm.entrypoints.llm  # noqa: E402
import vllm.model_executor.models.llava  # noqa: E402
import vllm.v1.engine.llm_engine  # noqa: E402
import vllm.v1.worker.cpu_worker  # noqa: E402, F401
