"""Keys and values of generation, with room to grow: transformers' cache copies all of them for each new token."""

from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer

ROOM = 64  # tokens that are allocated ahead, at least


class GrowingLayer(DynamicLayer):
    """`keys` and `values` are the first part of buffers that are longer, [B, heads, S, head size]."""

    buffers: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        start = self.get_seq_length()
        if start == 0:  # the prompt: it gets no room before it is known that something follows
            return super().update(key_states, value_states, *args, **kwargs)
        end = start + key_states.shape[-2]
        if not self._fits(end):
            room = end + max(ROOM, end // 4)
            self.buffers = tuple(
                states.new_empty(*states.shape[:-2], room, states.shape[-1])
                for states in (key_states, value_states)
            )
            for buffer, held in zip(self.buffers, (self.keys, self.values), strict=True):
                buffer[..., :start, :] = held
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[..., start:end, :] = states
        self.keys, self.values = (buffer[..., :end, :] for buffer in self.buffers)
        return self.keys, self.values

    def _fits(self, length: int) -> bool:
        """Whether `keys` still are a part of the buffers, which a choice among rows ends, and there is room."""
        return (
            self.buffers is not None
            and self.keys.data_ptr() == self.buffers[0].data_ptr()
            and length <= self.buffers[0].shape[-2]
        )


def growing_cache(config: PretrainedConfig) -> DynamicCache:
    """transformers' cache for a model, its plain layers with room."""
    cache = DynamicCache(config=config.get_text_config())
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
