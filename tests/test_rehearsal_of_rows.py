"""What trees save against separate rows, counted on a rehearsal. In a file of its own: one rehearsal at a time."""

from scripts.rehearsal.stages import Rehearsal


def test_trees_save_what_prompts_cost():
    with Rehearsal("llava-1.5", "7b", num_layers=2) as rehearsal:
        trees = rehearsal.count("grpo")
    with Rehearsal("llava-1.5", "7b", num_layers=2) as rehearsal:
        rows = rehearsal.count("grpo", as_rows=True)
    assert trees["grpo assign_credit"].kernels < 300
    # With two layers the vocabulary, which both need alike, is a large part; docs/rehearsal.md has all layers.
    assert rows["grpo update"].flops > 2.7 * trees["grpo update"].flops
