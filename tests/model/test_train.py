"""The trainer on small made-up images: exactness of the export, learning, determinism, resuming, errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from support.layers import thresholds  # noqa: E402

from spikeloom.model import float_network, golden, network_file, train, training_files  # noqa: E402
from spikeloom.model.errors import SpikeloomError  # noqa: E402
from spikeloom.model.train_config import TrainConfig  # noqa: E402

SMALL = TrainConfig(hidden="24", classes=3, epochs=3, batch=25, lr=1e-2, dropout=0.1, ema=0.9, validation=100,
                    mean=0.4, std=0.3, threads=1)


@pytest.fixture(scope="module")
def data():
    """Three noisy patterns of 6 x 6 pixels."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 200, (3, 6, 6))
    labels = rng.integers(0, 3, 500)
    images = np.clip(patterns[labels] + rng.normal(0, 40, (500, 6, 6)), 0, 255).astype(np.uint8)
    return images, labels


def numbers(network):
    return [array for layer in network.layers
            for array in (layer.connection.weight, layer.biases, layer.neuron.threshold)]


def without_time(metrics):
    return [asdict(replace(m, seconds=0.0)) for m in metrics]


def exported(config, model, shape):
    return train._export(config, model, shape, None)


@pytest.mark.parametrize("changes", [
    {},
    {"granularity": "layer", "fraction_bits": 0, "input_bits": 1},
    {"ties": "membrane"},
    {"ties": "membrane", "hidden": "3C3-P2-4C2-7", "mean": 0.0, "input_bits": 2},
    {"weight_bits": 1, "input_bits": 8},
    {"sparsity": 0.8, "sparsity_lanes": 5},
    {"weight_bits": 2, "symmetric": True},
    {"weight_bits": 2, "fraction_bits": 3, "tau_s": 4.0, "tau_m": 8.0, "steps": 12},
    {"weight_bits": 8, "tau_m": 5.0, "tau_s": 3.0, "mean": 0.5},
    {"weight_bits": 16, "input_bits": 8, "fraction_bits": 10, "hidden": "9-7"},
    {"tau_m": 1.0, "tau_s": 1.0, "steps": 1, "bias": False},
    {"hidden": "3C3-P2-4C2-7", "mean": 0.0},
    {"hidden": "3C3p1-O2-6D3s2p2-A3-7", "mean": 0.3},
    {"hidden": "P2-3C2p1-6D2p1-O5", "mean": 0.4, "granularity": "layer"},
], ids=str)
def test_spikes_in_training_are_those_of_the_golden_model(changes):
    config = replace(SMALL, **changes)
    model = train._Model(config, (1, 6, 6))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for layer in model.layers:
            layer.weight += 0.2 if "C" in config.hidden else 0.05
            if config.bias:
                layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator) * 0.3)
    network = exported(config, model, (6, 6))
    images = np.random.default_rng(3).integers(0, 256, (40, 6, 6), dtype=np.uint8)
    result = golden.run(network, images)
    pixels = torch.tensor(images[:, None])
    spikes, potential = model(pixels)
    for ours, theirs in zip(spikes, result.spikes, strict=True):
        np.testing.assert_array_equal(ours.detach().flatten(2).numpy().swapaxes(0, 1), theirs)
        assert theirs.any()
    np.testing.assert_array_equal(train._classes(config, spikes[-1], potential).numpy(), result.classes)
    assert network.readout.ties == config.ties
    if config.ties == "membrane":
        threshold, = {int(theta) for theta in thresholds(network.layers[-1])}  # one scale: comparable potentials
        np.testing.assert_array_equal((potential * threshold).round().detach().numpy(), result.potentials)
        assert (result.classes != np.argmax(result.scores, axis=1)).any()


def test_float_training_exports_what_it_evaluates(data, tmp_path):
    images, labels = data
    result = train.train(replace(SMALL, weight_bits=None), images, labels, tmp_path)
    assert result.path == tmp_path / "network.fsnn"
    loaded = float_network.load_float_network(result.path)
    held_back = torch.randperm(len(images), generator=torch.Generator().manual_seed(SMALL.seed))[:100].numpy()
    accuracy = (float_network.run(loaded, images[held_back]).classes == labels[held_back]).mean()
    assert accuracy == pytest.approx(result.metrics[-1].validation_accuracy, abs=0.011)  # float sums differ in order
    assert accuracy > 0.9


@pytest.mark.parametrize("changes", [
    {}, {"loss": "softmax"}, {"loss": "kernel"}, {"loss": "count", "wanted": 4.0},
    {"gradient": "surrogate"},
    {"sparsity": 0.7, "sparsity_lanes": 4},
    {"granularity": "layer", "weight_bits": 2}, {"schedule": "constant", "ema": 0.0},
], ids=str)
def test_it_learns_and_writes_the_network(data, tmp_path, changes):
    images, labels = data
    config = replace(SMALL, epochs=6, **changes)
    result = train.train(config, images, labels, tmp_path)
    network = network_file.load_network(result.path)
    held_back = torch.randperm(len(images), generator=torch.Generator().manual_seed(config.seed))[:100].numpy()
    accuracy = (golden.run(network, images[held_back]).classes == labels[held_back]).mean()
    assert accuracy == result.metrics[-1].validation_accuracy
    assert accuracy > 0.9
    assert json.loads(json.dumps(dict(network.metadata)))["training"]["weight_bits"] == config.weight_bits
    assert training_files.read_metrics(tmp_path / "metrics.jsonl") == result.metrics
    assert all(0 < a < 1 for a in result.metrics[-1].active)


def test_same_seed_same_network(data, tmp_path):
    runs = [train.train(replace(SMALL, epochs=2, seed=seed), *data, tmp_path / str(i))
            for i, seed in enumerate((1, 1, 2))]
    assert runs[0].network.hash == runs[1].network.hash != runs[2].network.hash


@pytest.mark.parametrize(("every_s", "again"), [(0.0, [3]), (1e9, [2, 3])])
@pytest.mark.parametrize("changes", [{}, {"weight_bits": None, "dropout": 0.0}, {"sparsity": 0.8}], ids=str)
def test_interrupted_and_resumed_is_the_same_as_uninterrupted(data, tmp_path, monkeypatch, changes, every_s, again):
    monkeypatch.setattr(training_files, "SAVE_EVERY_S", every_s)
    config = replace(SMALL, **changes)
    whole = train.train(config, *data, tmp_path / "whole")

    def interrupt(metrics):
        if metrics.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train(config, *data, tmp_path / "parts", on_epoch=interrupt)
    assert not (tmp_path / "parts" / whole.path.name).exists()
    seen = []
    parts = train.train(config, *data, tmp_path / "parts", resume=True, on_epoch=seen.append)
    assert [m.epoch for m in seen] == again
    assert without_time(parts.metrics) == without_time(whole.metrics)
    log = training_files.read_metrics(tmp_path / "parts" / "metrics.jsonl")
    assert without_time(log) == without_time(whole.metrics)
    # Other times stand in the metadata of neither: the files are equal.
    assert parts.path.read_bytes() == whole.path.read_bytes()


def test_a_log_that_lacks_the_last_epoch_is_completed(data, tmp_path):
    whole = train.train(SMALL, *data, tmp_path)
    log = tmp_path / "metrics.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-1]))
    train.train(SMALL, *data, tmp_path, resume=True)
    assert training_files.read_metrics(log) == whole.metrics


def test_a_constant_schedule_can_be_prolonged(data, tmp_path):
    config = replace(SMALL, schedule="constant")
    train.train(replace(config, epochs=1), *data, tmp_path / "parts")
    parts = train.train(config, *data, tmp_path / "parts", resume=True)
    whole = train.train(config, *data, tmp_path / "whole")
    for ours, theirs in zip(numbers(parts.network), numbers(whole.network), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_resume_without_a_checkpoint_starts(data, tmp_path):
    assert len(train.train(replace(SMALL, epochs=1), *data, tmp_path / "new" / "folder", resume=True).metrics) == 1


def test_resume_refuses_another_configuration_and_damage(data, tmp_path):
    config = replace(SMALL, epochs=1)
    train.train(config, *data, tmp_path)
    with pytest.raises(SpikeloomError, match=r"checkpoint\.pt: was made with lr=0\.01, not 0\.1"):
        train.train(replace(config, lr=0.1), *data, tmp_path, resume=True)
    with pytest.raises(SpikeloomError, match="does not fit the images"):
        train.train(config, data[0][:, :5], data[1], tmp_path, resume=True)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SpikeloomError, match="not a checkpoint of this training, or damaged"):
        train.train(config, *data, tmp_path, resume=True)


def test_a_teacher_teaches(data, tmp_path):
    images, labels = data
    wrong = (labels + 1) % 3  # so that it shows
    teacher = np.eye(3, dtype=np.float32)[wrong]
    result = train.train(replace(SMALL, epochs=6, distill=1.0), images, labels, tmp_path, teacher=teacher)
    assert (golden.run(result.network, images).classes == wrong).mean() > 0.9
    with pytest.raises(SpikeloomError, match=r"needs a teacher of shape \(500, 3\), not None"):
        train.train(replace(SMALL, distill=0.5), images, labels, tmp_path)
    with pytest.raises(SpikeloomError, match="probabilities must be finite"):
        train.train(replace(SMALL, distill=0.5), images, labels, tmp_path, teacher=teacher * np.nan)


@pytest.mark.parametrize("changes", [
    {}, {"granularity": "layer"}, {"mean": 0.3}, {"hidden": "3C3p1-P2-4C2-7", "mean": 0.3}, {"ties": "membrane"},
], ids=str)
def test_a_training_starts_where_another_ended(changes, data, tmp_path):
    images, labels = data
    config = replace(SMALL, **changes)
    first = train.train(config, images, labels, tmp_path).network
    result = train.train(replace(config, epochs=0), images, labels, tmp_path / "again", start=first)
    again = result.network
    assert result.metrics == []
    assert again.metadata["validation_accuracy"] == first.metadata["validation_accuracy"]
    for ours, theirs in zip(numbers(again), numbers(first), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(SpikeloomError, match=r"to start from are not those of hidden='23' with tau_s=2\.0"):
        train.train(replace(config, hidden="23"), images, labels, tmp_path / "b", start=first)
    with pytest.raises(SpikeloomError, match=r"was trained with mean=.* and std=0\.3, not .* and 0\.5"):
        train.train(replace(config, std=0.5), images, labels, tmp_path / "b", start=first)


def test_ternary_weights(data, tmp_path):
    network = train.train(replace(SMALL, weight_bits=2, symmetric=True), *data, tmp_path).network
    assert {int(w) for layer in network.layers for w in np.unique(layer.connection.weight)} == {-1, 0, 1}


@pytest.mark.parametrize(("weight_bits", "hidden"), [(4, "24-10"), (None, "24"), (4, "3C3-20")])
def test_each_lane_keeps_as_many_weights_of_an_input(data, tmp_path, weight_bits, hidden):
    config = replace(SMALL, epochs=4, hidden=hidden, weight_bits=weight_bits, sparsity=0.75, sparsity_lanes=5)
    network = train.train(config, *data, tmp_path).network
    for layer in network.layers:
        weight = layer.connection.weight if weight_bits else layer.weight
        if weight.ndim > 2 or layer.name == "output":
            assert np.count_nonzero(weight) > 0.6 * weight.size
            continue
        for lane in range(5):
            kept = max(1, round(0.25 * len(weight[lane::5])))
            counts = np.count_nonzero(weight[lane::5], axis=0)
            assert counts.max() == kept
            assert counts.mean() > 0.7 * kept


def test_fewer_bits_start_with_scales_of_their_own(data, tmp_path):
    """A scale that suits 4 bits would cut off most 2-bit weights."""
    first = train.train(replace(SMALL, weight_bits=4), *data, tmp_path / "a").network
    fewer = train.train(replace(SMALL, weight_bits=2, epochs=0), *data, tmp_path / "b", start=first).network
    for layer, before in zip(fewer.layers, first.layers, strict=True):
        ends = np.isin(layer.connection.weight, (-2, 1)).mean()
        kept = np.isin(before.connection.weight, (-1, 0)).mean()
        assert ends < 1 - kept


def test_a_training_starts_from_a_float_network(data, tmp_path):
    images, labels = data
    start = train.train(replace(SMALL, weight_bits=None, epochs=6), images, labels, tmp_path / "start").network
    barely = replace(SMALL, epochs=1, lr=1e-6, ema=0.0, dropout=0.0)
    result = train.train(barely, images, labels, tmp_path, start=start)
    assert result.metrics[-1].validation_accuracy > 0.9
    assert result.network.hash == train.train(barely, images, labels, tmp_path / "again", start=start).network.hash
    for changes, message in (({"hidden": "23"}, "to start from are not those of hidden='23' with thresholds of 1"),
                             ({"std": 0.5}, r"to start from has mean=0\.4 and std=0\.3, not 0\.4 and 0\.5")):
        with pytest.raises(SpikeloomError, match=message):
            train.train(replace(barely, **changes), images, labels, tmp_path / "c", start=start)


def test_mirror_images_are_learnt(data, tmp_path):
    images, labels = data
    result = train.train(replace(SMALL, hidden="48", epochs=8, mirror=True), images, labels, tmp_path)
    assert (golden.run(result.network, images[:, :, ::-1].copy()).classes == labels).mean() > 0.9


def test_activity_can_be_kept_low(data, tmp_path):
    plain, quiet = (train.train(replace(SMALL, epochs=4, activity=activity), *data,
                                tmp_path / str(activity)).metrics[-1] for activity in (0.0, 0.02))
    assert quiet.active[0] < 0.8 * plain.active[0]
    assert quiet.validation_accuracy > 0.9


def test_progress_counts_batches(data, tmp_path):
    calls = []
    train.train(replace(SMALL, epochs=2), *data, tmp_path, progress=lambda *call: calls.append(call))
    assert [c[1] for c in calls] == list(range(1, 33))
    assert calls[0][0] == 1
    assert calls[-1][0] == 2
    assert all(np.isfinite(c[2]) for c in calls)


@pytest.mark.parametrize(("changes", "message"), [
    ({"steps": 0}, r"steps must be in 1\.\.65536, not 0"),
    ({"tau_m": 0.0}, r"tau_m must be in 1\.\.32767 steps, not 0\.0"),
    ({"tau_s": float("nan")}, "tau_s must be"),
    ({"weight_bits": 9}, r"weight_bits must be one of \(None, 1, .*, not 9"),
    ({"granularity": "row"}, "granularity must be"),
    ({"fraction_bits": 17}, "fraction_bits must be"),
    ({"input_bits": 0}, "input_bits must be"),
    ({"gradient": "exact"}, "gradient must be"),
    ({"loss": "l1"}, "loss must be"),
    ({"schedule": "step"}, "schedule must be"),
    ({"dropout": 1.0}, "dropout must be"),
    ({"distill": 2.0}, "distill must be"),
    ({"sparsity": 0.5, "weight_bits": 1}, "sparsity must be 0 with weights of one bit, which cannot be 0"),
    ({"distill": 0.5, "loss": "kernel"}, "distill must be 0 unless loss is 'mse' or 'softmax'"),
    ({"hidden": 400}, "hidden must be a topology"),
    ({"lr": -1.0}, "lr must be a number above 0"),
    ({"weight_decay": -1.0}, "weight_decay must be"),
    ({"validation": -1}, "validation must be"),
])
def test_bad_configuration(changes, message):
    with pytest.raises(SpikeloomError, match=message):
        replace(SMALL, **changes)


def test_bad_data(data, tmp_path):
    images, labels = data
    for bad_images, bad_labels, message in (
            (images.astype(float), labels, "images must be uint8"),
            (images, labels[:-1], r"labels must be integers of shape \(500,\)"),
            (images, labels + 1, r"label of sample \d+ must be in 0\.\.2, not 3"),
            (images[:100], labels[:100], "validation=100 must be less than the 100 images")):
        with pytest.raises(SpikeloomError, match=message):
            train.train(SMALL, bad_images, bad_labels, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SpikeloomError, match="file: is not a folder"):
        train.train(SMALL, images, labels, tmp_path / "file")


def test_log_is_drawn(data, tmp_path):
    for validation in (0, 100):
        config = replace(SMALL, epochs=2, validation=validation)
        metrics = train.train(config, *data, tmp_path / str(validation)).metrics
        training_files.plot_metrics(metrics, tmp_path / "log.png")
        assert (tmp_path / "log.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SpikeloomError, match="no epochs"):
        training_files.plot_metrics([], tmp_path / "log.png")
    with pytest.raises(SpikeloomError, match=r"folder .*none does not exist"):
        training_files.plot_metrics(metrics, tmp_path / "none" / "log.png")
    (tmp_path / "log").write_text('{"epoch": 1}\n')
    with pytest.raises(SpikeloomError, match="log: line 1: field loss is missing"):
        training_files.read_metrics(tmp_path / "log")
    with pytest.raises(SpikeloomError, match="no such file"):
        training_files.read_metrics(tmp_path / "none")


def test_without_torch_the_message_says_what_to_install():
    code = ("import sys; sys.modules['torch'] = None\n"
            "from spikeloom.model.errors import SpikeloomError\n"
            "try:\n    import spikeloom.model.train\n"
            "except SpikeloomError as error:\n    print(error)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parent)
    assert "pip install -e '.[train]'" in done.stdout


def test_a_finished_training_is_not_touched(data, tmp_path):
    train.train(SMALL, *data, tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(SpikeloomError, match=r"has checkpoint\.pt already: go on with it by --resume"):
        train.train(replace(SMALL, seed=5), *data, tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_first_epoch_that_fails_leaves_nothing(data, tmp_path):
    with pytest.raises(SpikeloomError, match="the gradient is"):
        train.train(replace(SMALL, lr=1e38), *data, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("changes", "why"), [
    ({"steps": 65537}, "steps must be in 1..65536"), ({"name": "a b"}, "name must be letters"),
    ({"name": "<b>", "weight_bits": None}, "name must be letters"), ({"seed": 1 << 63}, "seed must be in"),
    ({"hidden": "1000000000000"}, "hidden must be a topology .*of layers below"),
    ({"hidden": "9" * 5000}, "hidden must be a topology"),
])
def test_settings_are_checked_before_the_training(changes, why):
    with pytest.raises(SpikeloomError, match=f"^training: {why}"):
        replace(SMALL, **changes)


def test_a_network_that_no_memory_holds_is_refused(data, tmp_path):
    with pytest.raises(SpikeloomError, match=r"has .* weights, allowed are"):
        train.train(replace(SMALL, hidden="999999-999999"), *data, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_is_no_file(data, tmp_path):
    os.mkfifo(tmp_path / "checkpoint.pt")
    with pytest.raises(SpikeloomError, match="is not a regular file"):
        train.train(SMALL, *data, tmp_path, resume=True)


def test_spikes_over_time_are_refused(data, tmp_path):
    images, labels = data
    with pytest.raises(SpikeloomError, match="spikes over time"):
        train.train(SMALL, (images > 99).astype(np.uint8), labels, tmp_path / "out")
    with pytest.raises(SpikeloomError, match="spikes over time"):
        train.train(replace(SMALL, weight_bits=None), (images > 99).astype(np.uint8), labels, tmp_path / "out")
    with pytest.raises(SpikeloomError, match="spikes over time, which cannot be trained yet"):
        train.train(SMALL, np.ones((len(labels), 5, 2, 4, 4), np.uint8), labels, tmp_path / "out")
    assert not list(tmp_path.iterdir())
