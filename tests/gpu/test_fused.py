"""liger-kernel's kernels and compiled layers give the losses and gradients of the layers as they are written."""

import pytest
import torch

from tests.conftest import RECORDS
from training.utils.config.stage_config import SFTConfig
from training.utils.data.loader import Collator
from training.utils.model.kernels import fuse_kernels, why_not_liger
from training.utils.model.llava import Llava
from training.utils.model.policy import Policy
from training.utils.model.tree_attention import use_tree_attention

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


# Compiled layers first: liger-kernel changes the module's functions for good.
@pytest.mark.parametrize("more", [{"compile": True, "fused_kernels": "off"}, {"fused_kernels": "on"}])
def test_log_probabilities_and_gradients_of_trees_stay_what_they_are(more, tiny_llava, encoder):
    def run(**flags):
        model = Llava().load_model(str(tiny_llava)).cuda()
        language_model = model.model.language_model
        use_tree_attention(language_model)
        if flags.get("fused_kernels") == "on" and (hindrance := why_not_liger(language_model)):
            pytest.skip(hindrance)
        fuse_kernels(language_model, SFTConfig(from_checkpoint="x", data_path="x", output_dir="x", **flags))
        policy = Policy(model, Llava())
        batch = Collator(encoder, True)([encoder.encode(record) for record in RECORDS]).to("cuda")
        logps = policy(batch)
        logps.mean().backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        return logps.detach(), gradients

    expected, expected_gradients = run(fused_kernels="off")
    found, gradients = run(**more)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    for name, gradient in expected_gradients.items():
        torch.testing.assert_close(gradients[name], gradient, atol=1e-4, rtol=1e-3)
