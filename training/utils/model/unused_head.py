"""The head of a language model whose values are read in its place: it takes no memory of the device."""

from torch import Tensor, nn
from transformers import PreTrainedModel

from ..engine.zero import made_whole
from ..process import dist


class UnusedHead(nn.Module):
    """Stands where an `lm_head` was that nothing is computed with. Checkpoints hold it, as transformers expects them
    to: so the main process keeps it in its own memory, if the model will be saved.

    The head is not a submodule: no engine moves, shares out or saves it.
    """

    def __init__(self, model: PreTrainedModel, is_saved: bool) -> None:
        """
        Args:
            model: whose head this takes the place of. All processes must call it.
        """
        super().__init__()
        head = model.lm_head
        self.is_tied = head.weight is model.get_input_embeddings().weight
        if not self.is_tied:  # else its weights are the embedding's, which is used
            head = made_whole(head).cpu() if is_saved else None
        self.__dict__["head"] = head if self.is_tied or dist.is_main() else None  # hidden from nn.Module
        model.lm_head = self

    def whole(self) -> nn.Module:
        """The head itself, on the main process."""
        return self.__dict__["head"]

    def own_weights(self) -> dict[str, Tensor]:
        """Its part of the model's state dict; none where its weights are the embedding's."""
        return {} if self.is_tied else {f"lm_head.{name}": t for name, t in self.whole().state_dict().items()}
