"""What the demo's page shows of each run."""

import pytest

from demo.report import scores_of


@pytest.mark.parametrize(("run", "kinds"), [("sft", ("greedy", "sampled")), ("best-of-8", ("best",))])
def test_sampled_answers_and_the_best_of_several_stand_in_one_row(run, kinds, tmp_path):
    for kind in kinds:
        (tmp_path / f"{run}-{kind}.json").write_text("{}")
    titles = {"greedy": "greedy", "sampled": "sampled", "best": "sampled"}
    assert scores_of(tmp_path, run) == {titles[kind]: str(tmp_path / f"{run}-{kind}.json") for kind in kinds}
