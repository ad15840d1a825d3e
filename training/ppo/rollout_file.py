"""What was sampled, as a file for people."""

from collections.abc import Sequence
from pathlib import Path

from training.ppo.experience import Experience
from training.utils import dist, jsonl
from training.utils.data.encode import Encoder
from training.utils.stage_config import PPOConfig


class Rollouts:
    """Writes what was sampled to `rollouts.jsonl`, so that a person can read what the rewards like."""

    def __init__(self, config: PPOConfig, encoder: Encoder, start_step: int) -> None:
        self.file = Path(config.output_dir) / "rollouts.jsonl"
        self.encoder = encoder
        if dist.is_main():
            jsonl.cut_after(self.file, start_step)

    def write(self, step: int, experiences: Sequence[Experience]) -> None:
        """The responses of the main process, with their scores and KL in nats."""
        if not dist.is_main():
            return
        for experience in experiences:
            scores, kl = iter(experience.scores.tolist()), iter(experience.kl.tolist())
            for tree in experience.trees:
                responses = [self.encoder.decode(response.ids) for response in tree.responses]
                line = {"step": step, "id": tree.id, "responses": responses}
                line["scores"] = [next(scores) for _ in responses]
                line["kl"] = [next(kl) for _ in responses]
                jsonl.append(self.file, line)
