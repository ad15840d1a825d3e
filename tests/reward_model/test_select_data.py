"""Selection of preference data as a user starts it, and the gradients that it compares."""

import json

import pytest
import torch

from tests.conftest import SAMPLES, load_records
from tests.stages.conftest import reward_model, run  # noqa: F401  (a fixture)
from training.reward_model.select_data import SelectConfig, loss_gradient, main, with_gradients
from training.utils.data.loader import eval_batches
from training.utils.data.record import DataError
from training.utils.data.subset import write_subset
from training.utils.loop.prepare import build_encoder
from training.utils.model.build_model import build_value_model

REWARD = SAMPLES / "reward.json"


@pytest.fixture
def config(reward_model, tmp_path):  # noqa: F811
    def build(**changes) -> SelectConfig:
        settings = {"candidates": str(REWARD), "target": str(REWARD), "num_keep": 3, "projection_dim": 64}
        settings |= {"output_path": str(tmp_path / "kept.json"), "image_folder": str(SAMPLES)}
        return SelectConfig(from_checkpoint=str(reward_model), **(settings | changes))

    return build


@pytest.fixture
def model_and_encoder(config):
    chosen = config(precision="fp32")
    encoder = build_encoder(chosen, chosen.from_checkpoint)
    return build_value_model(chosen, chosen.from_checkpoint, encoder.family, trainable=False), encoder


@pytest.mark.parametrize("lora_dim", [4, 0])
def test_gradients_of_samples_add_up_to_the_gradient_of_their_batch(model_and_encoder, lora_dim):
    model, encoder = model_and_encoder
    parameters = with_gradients(model, lora_dim, "layers.")
    records = load_records(str(REWARD), None, min_responses=2)[:4]
    alone = [loss_gradient(model, parameters, batch) for batch, _ in eval_batches(records, encoder, 1)]
    (together,) = [loss_gradient(model, parameters, batch) for batch, _ in eval_batches(records, encoder, 4)]
    assert len(together) == sum(parameter.numel() for parameter in parameters)
    assert all(gradient.abs().max() > 0 for gradient in alone)
    torch.testing.assert_close(torch.stack(alone).sum(0), together, atol=1e-5, rtol=1e-4)


def test_the_gradient_of_a_pair_is_that_of_bradley_terry_by_finite_differences(model_and_encoder):
    model, encoder = model_and_encoder
    (parameter, *_) = parameters = with_gradients(model, 4, "layers.")
    records = load_records(str(REWARD), None, min_responses=2, max_responses=2)[:1]
    ((batch, _),) = eval_batches(records, encoder, 1)
    gradient = loss_gradient(model, parameters, batch)[: parameter.numel()].view_as(parameter)
    place = divmod(int(gradient.abs().argmax()), parameter.shape[1])

    def loss(step: float) -> float:
        with torch.no_grad():
            parameter[place] += step
            chosen, rejected = model(batch, batch.last_token).double().tolist()
            parameter[place] -= step
        return torch.nn.functional.softplus(torch.tensor(rejected - chosen, dtype=torch.float64)).item()

    assert (loss(1e-2) - loss(-1e-2)) / 2e-2 == pytest.approx(float(gradient[place]), rel=0.05)


def test_added_adapters_do_not_change_the_scores(model_and_encoder):
    model, encoder = model_and_encoder
    ((batch, _),) = eval_batches(load_records(str(REWARD), None, min_responses=2)[:2], encoder, 2)
    before = model(batch, batch.last_token)
    with_gradients(model, 4, "layers.")
    torch.testing.assert_close(model(batch, batch.last_token), before)


@pytest.mark.parametrize("transport", ["pairwise", "set"])
def test_the_cheapest_candidates_are_kept_as_they_were(config, tmp_path, transport):
    entries = json.loads(REWARD.read_text())
    main(config(transport=transport))
    lines = [json.loads(line) for line in (tmp_path / "kept.json.costs.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] != [entry["id"] for entry in entries]
    assert {line["id"] for line in lines} == {entry["id"] for entry in entries}
    assert [line["cost"] for line in lines] == sorted(line["cost"] for line in lines)
    assert [line["kept"] for line in lines] == [True] * 3 + [False] * (len(entries) - 3)
    cheapest = {line["id"] for line in lines[:3]}
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert kept == [entry for entry in entries if entry["id"] in cheapest]


def test_records_that_prefer_what_the_target_prefers_are_kept(config, tmp_path):
    def prefers(long: bool, thing: str) -> dict:
        answers = [f"There is a {thing} in the middle of the picture, as one can see.", f"A {thing}."]
        turns = [{"from": "human", "value": "What is in the picture?"}]
        turns.append({"from": "gpt", "value": answers if long else answers[::-1]})
        return {"id": f"{'long' if long else 'short'}-{thing}", "conversations": turns}

    things = ["red circle", "blue square", "green star", "black triangle", "red square", "purple circle"]
    candidates, target = tmp_path / "candidates.json", tmp_path / "target.json"
    candidates.write_text(
        json.dumps([prefers(long, thing) for thing in things[:4] for long in (False, True)])
    )
    target.write_text(json.dumps([prefers(True, thing) for thing in things[4:]]))
    main(config(candidates=str(candidates), target=str(target), num_keep=4, unit_gradients=True))
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert [entry["id"] for entry in kept] == [f"long-{thing}" for thing in things[:4]]


def test_it_runs_from_the_command_line_and_says_what_is_wrong(config, reward_model, tmp_path):  # noqa: F811
    arguments = ["-m", "training.reward_model.select_data", "--from_checkpoint", str(reward_model)]
    arguments += ["--candidates", str(REWARD), "--target", str(REWARD), "--projection_dim", "32"]
    output = tmp_path / "few.json"
    done = run([*arguments, "--num_keep", "2", "--output_path", str(output)])
    assert f"{output}: kept 2 of {len(json.loads(REWARD.read_text()))} records" in done.stdout
    assert len(json.loads(output.read_text())) == 2
    failed = run([*arguments, "--num_keep", "1000", "--output_path", str(output)], check=False)
    assert failed.returncode == 2 and "error: --num_keep 1000" in failed.stderr
    with pytest.raises(DataError, match="module_name nowhere: no linear layer's name holds this"):
        main(config(lang_lora_module_name="nowhere"))


def test_two_processes_select_what_one_does(reward_model, tmp_path):  # noqa: F811
    # Costs that depend on each record's own gradient, so shares in the wrong order would show.
    flags = {"from_checkpoint": reward_model, "candidates": REWARD, "target": REWARD, "image_folder": SAMPLES}
    flags |= {"transport": "pairwise", "num_keep": 3, "projection_dim": 64}
    arguments = ["-m", "training.reward_model.select_data"]
    arguments += [str(part) for name, value in flags.items() for part in (f"--{name}", value)]
    outputs = [tmp_path / "one.json", tmp_path / "two.json"]
    for processes, output in enumerate(outputs, 1):
        run([*arguments, "--output_path", str(output)], processes=processes)
    one, two = (json.loads(output.read_text()) for output in outputs)
    assert len(one) == 3 and one == two


def test_a_subset_is_in_the_format_of_its_source(tmp_path):
    entries = [{"id": i, "chosen": "é", "rejected": "n", "prompt": "p"} for i in range(4)]
    listed, lines = tmp_path / "list.json", tmp_path / "lines.jsonl"
    listed.write_text(json.dumps(entries))
    lines.write_text("\n\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries))
    write_subset(listed, [1, 3], tmp_path / "out" / "list.json")
    write_subset(lines, [1, 3], tmp_path / "out" / "lines.jsonl")
    assert json.loads((tmp_path / "out" / "list.json").read_text()) == [entries[1], entries[3]]
    originals = lines.read_text().split("\n\n")
    assert (tmp_path / "out" / "lines.jsonl").read_text() == f"{originals[1]}\n{originals[3]}\n"


def test_a_subset_of_a_data_set_is_one(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_list([{"prompt": str(i), "chosen": "y", "rejected": "n"} for i in range(4)])
    rows.save_to_disk(tmp_path / "saved")
    rows.to_parquet(tmp_path / "rows.parquet")
    for name in ("saved", "rows.parquet"):
        write_subset(tmp_path / name, [0, 2], tmp_path / "out" / name)
        kept = load_records(str(tmp_path / "out" / name), None, min_responses=2)
        assert [record.turns[0].text for record in kept] == ["0", "2"]
