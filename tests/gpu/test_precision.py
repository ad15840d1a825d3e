"""With --precision fp32 a GPU computes in 32 bits: TF32 keeps 10 bits of a factor."""

import pytest
import torch

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


def test_convolutions_and_products_are_as_near_to_64_bits_as_on_a_cpu():
    pictures, kernel = torch.randn(2, 3, 64, 64), torch.randn(32, 3, 8, 8)
    one, other = torch.randn(256, 256), torch.randn(256, 256)
    for compute in (lambda to: torch.conv2d(to(pictures), to(kernel)), lambda to: to(one) @ to(other)):
        exact, on_cpu, on_gpu = (
            compute(to).double().cpu()
            for to in (torch.Tensor.double, torch.Tensor.float, lambda tensor: tensor.cuda())
        )
        assert (on_gpu - exact).norm() < 4 * (on_cpu - exact).norm() + 1e-7 * exact.norm()
