"""One frozen model in several roles: each has an adapter of its own, and maybe a head.

PPO needs a policy, a reference, a critic and a reward model. As adapters of one model (arXiv 2106.09685) they take
little more memory than that model; the reference is the model without any adapter.
"""

from torch import Tensor, nn
from transformers import PreTrainedModel

from .lora import ADAPTER, adapter_parameters, lora_layers, use_adapter


class Backbone:
    """A model with adapters, of which one acts at a time, or none."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.layers = list(lora_layers(model).values())
        self.acting: str | None = ADAPTER

    def use(self, adapter: str | None) -> PreTrainedModel:
        """The model with this adapter acting."""
        if adapter != self.acting:
            use_adapter(self.layers, adapter)
            self.acting = adapter
        return self.model


class Adapted(nn.Module):
    """Stands where a model of its own would, in a policy or a value model.

    The backbone is not a submodule: an engine sees the adapter alone, and trains and saves nothing else.
    """

    def __init__(self, backbone: Backbone, adapter: str | None) -> None:
        super().__init__()
        self.__dict__["backbone"] = backbone  # hidden from nn.Module's bookkeeping
        self.adapter = adapter
        self.own = nn.ParameterList(adapter_parameters(backbone.model, adapter) if adapter else [])

    def __getattr__(self, name: str):
        if name in self.__dict__["_modules"]:
            return self.__dict__["_modules"][name]
        return getattr(self.__dict__["backbone"].use(self.__dict__["adapter"]), name)

    def train(self, mode: bool = True) -> "Adapted":
        self.__dict__["backbone"].model.train(mode)
        return super().train(mode)

    def whole(self) -> PreTrainedModel:
        return self.__dict__["backbone"].model

    def whole_weights(self) -> dict[str, Tensor]:
        """State dict of the model on the CPU with this adapter under the usual name, as it is now, and without the
        others."""
        state = self.whole().state_dict()
        own = {
            name.replace(f".{self.adapter}.", f".{ADAPTER}."): t.to("cpu", copy=True)
            for name, t in state.items()
            if f".{self.adapter}." in name
        }
        return {name: t.cpu() for name, t in state.items() if ".lora_" not in name} | own
