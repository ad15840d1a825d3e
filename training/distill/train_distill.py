"""On-policy distillation (arXiv 2306.13649, algorithm 1): a student learns what a teacher would say at each token of
the student's own answers, so that it learns to go on from what it says itself.

With `--on_policy_share` below 1, a share of the prompts is learned on the records' answers instead.
"""

from time import monotonic

from training.distill.answers import Answering, evaluate
from training.distill.models import Student, Teacher
from training.utils.checkpoint.run import Run
from training.utils.config.distill_config import DistillConfig
from training.utils.data.loader import flow, step_trees
from training.utils.engine.engine import Engine
from training.utils.loop.meter import Meter
from training.utils.loop.pace import Pace
from training.utils.loop.prepare import build_encoder, load_data
from training.utils.loop.tally import Tally
from training.utils.model.build_model import build_policy
from training.utils.process import dist
from training.utils.process.cli import run_stage


def main(config: DistillConfig) -> None:
    encoder = build_encoder(config, config.from_checkpoint)
    data = load_data(config, encoder, min_responses=int(config.on_policy_share < 1), max_responses=1)
    run = Run(config, encoder, data)
    teacher = Teacher(config, data)
    policy = build_policy(config, config.from_checkpoint, encoder.family)
    student = Engine(Student(policy.model, policy.family), config, total_steps=data.sampler.num_steps)
    data.sampler.start_step, _ = run.load_checkpoint({"engine": student})

    meter = Meter(config, total_steps=data.sampler.num_steps, start_step=data.sampler.start_step)
    answering = Answering(student, config, data)
    pace = Pace(config, data.sampler)
    for step, prompts in pace.steps(step_trees(data, config.workers)):
        # 1. Answers: of the student as it is now, or for some prompts those of the records.
        started = monotonic()
        answered = answering.answer(prompts, step)
        sampling_s = monotonic() - started

        # 2. Bring the student's distribution at each of their tokens nearer to the teacher's.
        tally = Tally()
        batches = [answering.collate(trees) for trees in answered]
        total = float(dist.sum_over_ranks(sum(batch.num_learned for batch in batches)))
        student.accumulation = len(batches)
        for trees, batch in zip(answered, batches, strict=True):
            batch = batch.to(dist.device())
            losses = student(batch, teacher.logits(trees, batch), config.jsd_beta)
            student.backward(losses.sum() / total)
            num = batch.num_responses
            tally.add({"response_len": (len(losses), num), "ended": (batch.ended.sum(), num)})
        moved = student.step(batches)

        # 3. Report, save.
        figures = {**flow(batches, data.waited_s), "sampling_s": sampling_s, **moved, **tally.means()}
        meter.step(step, epoch=step / data.sampler.steps_per_epoch, **figures, **run.stall())
        due = pace.after(step)
        if due.evaluation and data.held_out:
            meter.log_eval(step, **evaluate(answering, student, teacher, data.held_out))
        run.save(step, due, {"engine": student})
    meter.close()
    run.finish(pace.stopped_by)


if __name__ == "__main__":
    run_stage(main, DistillConfig)
