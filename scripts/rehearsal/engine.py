"""What stands for DeepSpeed's engine where steps are counted or timed."""

import torch
from torch import Tensor

from training.utils.process import dist


class FakeDeepSpeed:
    """DeepSpeed's engine without its optimizer: gradients stay where autograd leaves them."""

    optimizer = None

    def __init__(self, model: torch.nn.Module, **_) -> None:
        self.module = model.to(dist.device())

    def __call__(self, *args, **kwargs) -> Tensor:
        return self.module(*args, **kwargs)

    def backward(self, loss: Tensor, **_) -> None:
        loss.backward()

    def set_gradient_accumulation_boundary(self, is_boundary: bool) -> None: ...

    def step(self) -> None: ...

    def get_lr(self) -> list[float]:
        return [0.0]

    def get_global_grad_norm(self) -> float:
        return 0.0

    def was_step_applied(self) -> bool:
        return True
