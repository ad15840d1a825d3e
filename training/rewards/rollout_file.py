"""What was sampled, as a file for people; `eval/rollouts.py` makes a page of it.

A line for each group of samples: `step`, `id`, `prompt`, `images`, and a list each of `responses`, `scores`, `kl` (of
the whole response, nats) and `tokens` (of a response its lists `text`, `kl`, and in policy optimisation `advantage`
and `reward`). By the names of rewards `parts`, a list of the scores of each where there are several, and `said`, a
list of the words of each that says why, as a judge does.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch

from training.rewards.observed import Observed
from training.utils.config.online_dpo_config import OnlineDPOConfig
from training.utils.config.ppo_config import PPOConfig
from training.utils.data.data_paths import picture_folder
from training.utils.data.encode import Encoder
from training.utils.data.legacy_lines import named_within
from training.utils.data.pieces import token_pieces
from training.utils.data.record import MARKER, Record
from training.utils.files import jsonl
from training.utils.process import dist

MOST_TOKENS = 4096  # of a step that are written one by one, about 30 bytes each; the last group is whole
DIGITS = 3
MOST_SAID = 400  # characters of what a reward says of a response: the last, where a judge concludes


class Rollouts:
    """Writes what was sampled to `rollouts.jsonl`, so that a person can read what the rewards like."""

    def __init__(self, config: PPOConfig | OnlineDPOConfig, encoder: Encoder, start_step: int) -> None:
        self.file = Path(config.output_dir) / "rollouts.jsonl"
        self.image_folder = picture_folder(config.image_folder, config.data_path)
        self.encoder = encoder
        if dist.is_main():
            jsonl.cut_after(self.file, start_step)

    def write(self, step: int, observed: Sequence[Observed]) -> None:
        """The responses of the main process, with their scores and KL in nats. The first groups of a step have their
        tokens too, until `MOST_TOKENS` are reached: a long run's file stays small."""
        if not dist.is_main():
            return
        room = MOST_TOKENS
        for each in observed:
            scores, kl = iter(each.scores.tolist()), iter(each.kl.tolist())
            parts = {name: iter(part.tolist()) for name, part in each.parts.items()}
            said = {name: map(end_of, texts) for name, texts in each.said.items()}
            tokens = token_lines(each, self.encoder) if room > 0 else None
            for tree in each.trees:
                responses = [self.encoder.decode(response.ids) for response in tree.responses]
                line = {"step": step, "id": tree.id, **asked(tree.record, self.image_folder)}
                line["responses"] = responses
                line["scores"] = [next(scores) for _ in responses]
                line["kl"] = [next(kl) for _ in responses]
                if len(parts) > 1:
                    line["parts"] = {name: [*islice(part, len(responses))] for name, part in parts.items()}
                if said:
                    line["said"] = {name: [*islice(texts, len(responses))] for name, texts in said.items()}
                if tokens and room > 0:
                    line["tokens"] = [*islice(tokens, len(responses))]
                    room -= sum(len(response.ids) for response in tree.responses)
                jsonl.append(self.file, line)


def token_lines(observed: Observed, encoder: Encoder) -> Iterator[dict[str, list]]:
    """Of each response its tokens: their texts, and each measure."""
    measures = observed.measures
    columns = torch.stack([*measures.values()]).double().tolist()
    columns = [[round(value, DIGITS) + 0.0 for value in column] for column in columns]  # no -0.0
    values = iter(zip(*columns, strict=True))
    for tree in observed.trees:
        for response in tree.responses:
            of_response = map(list, zip(*islice(values, len(response.ids)), strict=True))
            text = token_pieces(encoder.vocabulary, response.ids)
            yield {"text": text, **dict(zip(measures, of_response, strict=True))}


def end_of(text: str) -> str:
    return text if len(text) <= MOST_SAID else f"... {text[-MOST_SAID:]}"


def asked(record: Record | None, image_folder: Path | None) -> dict[str, str | list[str]]:
    """The prompt, and the files of its pictures: as named from the folder of the run, or by their whole paths."""
    if record is None:
        return {}
    folders = [image_folder.absolute()] if image_folder else []
    images = [named_within(file.absolute(), folders) for file in record.images if isinstance(file, Path)]
    prompt = "\n".join(turn.text.replace(MARKER, "").strip() for turn in record.turns)
    return {"prompt": prompt, "images": images}
