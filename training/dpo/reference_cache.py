"""Log-probabilities of the reference on disk, one line for each tree.

A line's key is made of what the model reads: token ids and pixels. The file's name is made of what the model is: its
weights, its configuration and its precision. So no stale value can be taken, and files of several runs may share a
folder.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from training.utils.config.stage_config import DPOConfig
from training.utils.data.encode import Encoder
from training.utils.data.loader import Collator, Data, Encode, eval_shares
from training.utils.data.record import DataError, Record
from training.utils.data.records import have_images
from training.utils.data.tree import Batch, Tree
from training.utils.files import jsonl
from training.utils.files.shared_folder import require_shared
from training.utils.process import dist
from training.utils.run.identity import model_inputs

NUM_CHECKED = 4  # trees that are computed again when there is a file already
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 1.0, torch.float16: 0.2}  # nats of a response


class ReferenceCache:
    def __init__(self, config: DPOConfig, encoder: Encoder) -> None:
        self.file = Path(config.reference_cache) / dist.from_main(lambda: file_name(config))
        require_shared(self.file.parent)  # each process reads what all have written
        self.tolerance = TOLERANCE[config.torch_dtype]
        self.batch_size = config.per_device_eval_batch_size
        self.logps: dict[str, list[float]] = {}
        for file in self._files():
            self._read(file)

    def fill(self, records: Sequence[Record], data: Data, reference: Callable[[Batch], Tensor]) -> None:
        """Computes what is missing, each process its share, and checks some of what was there.

        Raises:
            DataError: a stored value is not what the reference says.
        """
        collator = Collator(data.encoder, have_images(records))
        known, world = len(self.logps), dist.world_size()
        mine = [
            all(key(tree) in self.logps for tree in data.encode([record]))
            for record in records[dist.rank() :: world]
        ]
        shares = dist.gather_objects(mine)
        missing, checked = [], []
        for number, record in enumerate(records):
            (checked if shares[number % world][number // world] else missing).append(record)

        def computed(share: Sequence[Record]) -> list[tuple[str, list[float]]]:
            trees = data.encode(share)
            values = iter(reference(collator(trees).to(dist.device())).tolist())
            return [(key(tree), [next(values) for _ in tree.responses]) for tree in trees]

        for share, _ in eval_shares(checked[:NUM_CHECKED], self.batch_size):
            for name, values in computed(share):
                if any(abs(a - b) > self.tolerance for a, b in zip(values, self.logps[name], strict=True)):
                    raise DataError(
                        f"{self.file}: holds {self.logps[name]} for a record of which the reference now says "
                        f"{values}; remove the file"
                    )
        part = self.file.with_suffix(f".{dist.rank()}.jsonl")
        part.parent.mkdir(parents=True, exist_ok=True)
        jsonl.mend(part)
        shares = list(eval_shares(missing, self.batch_size))
        for share, counts in tqdm(shares, desc="reference", unit="batch", disable=not dist.is_main()):
            for name, values in computed(share):
                if counts:
                    jsonl.append(part, {"key": name, "logps": values})
        dist.barrier()
        for file in self._files():
            self._read(file)
        if dist.is_main():
            print(
                f"reference: {known} trees from {self.file}, {len(self.logps) - known} computed", flush=True
            )

    def encoding_with(self, encode: Encode) -> Encode:
        """`encode`, with the stored log-probabilities put into the responses."""

        def encode_with_logps(records: Sequence[Record]) -> list[Tree]:
            return [self._attached(tree) for tree in encode(records)]

        return encode_with_logps

    def _attached(self, tree: Tree) -> Tree:
        pairs = zip(tree.responses, self.logps[key(tree)], strict=True)
        return replace(tree, responses=[replace(response, ref_logp=logp) for response, logp in pairs])

    def _files(self) -> list[Path]:
        return sorted(self.file.parent.glob(f"{self.file.stem}*.jsonl"))

    def _read(self, file: Path) -> None:
        self.logps |= {line["key"]: line["logps"] for line in jsonl.read(file)}


def file_name(config: DPOConfig) -> str:
    """Of the log-probabilities of one reference."""
    weights, settings = model_inputs("", config.reference or config.from_checkpoint).values()
    precision = str(config.torch_dtype).removeprefix("torch.")
    return f"ref_logps-{weights[:16]}-{settings[:8]}-{precision}.jsonl"


def key(tree: Tree) -> str:
    """A digest of what a model reads of a tree."""
    digest = hashlib.sha256(json.dumps([tree.prompt_ids, [r.ids for r in tree.responses]]).encode())
    for name in sorted(tree.vision):
        digest.update(name.encode() + tree.vision[name].contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
