"""The report: complete, self-contained, small, for any dense network; nothing half-written on errors."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.networks import make_external, random_conv_network, random_fold, random_samples

import spikeloom
from spikeloom import html_report
from spikeloom.gen.cycles import predict_latency
from spikeloom.gen.fold import Fold, LayerFold
from spikeloom.gen.manifest import read_manifest
from spikeloom.gen.synth import SynthResult
from spikeloom.model.datasets import Dataset
from spikeloom.model.network import Dense, Layer, Network, Neuron, Readout, SpikeInput, StaticInput
from spikeloom.model.numerics import Multiply, Shift


def make_network(sizes: tuple[int, ...], inp: StaticInput | SpikeInput, steps: int) -> Network:
    rng = np.random.default_rng(7)
    layers = tuple(
        Layer(name=f"layer{k}",
              connection=Dense(weight=rng.integers(-7, 8, (outputs, inputs)), weight_bits=4,
                               bias=rng.integers(-3, 4, outputs) if k == 0 else None),
              neuron=Neuron(synapse=Shift(1), membrane=Multiply(3000), threshold=np.array([15]), fraction_bits=2,
                            compare=">", reset="zero" if k else "subtract"))
        for k, (inputs, outputs) in enumerate(pairwise(sizes)))
    return Network.chain(name="small", input=inp, layers=layers, steps=steps, readout=Readout.count(),
                   metadata={"recipe": {"seed": 7, "note": "<script>alert(1)</script>"}, "test_accuracy": 0.5})


def make_build(network: Network, folder: Path, **fold: Any) -> Path:
    lanes = [min(4, layer.connection.outputs) for layer in network.layers]
    plan = spikeloom.compile(network, Fold(layers=tuple(LayerFold(lanes=n) for n in lanes), **fold))
    spikeloom.write(plan, folder)
    return folder


def make_data(network: Network, count: int, classes: tuple[str, ...], shape: tuple[int, ...]) -> Dataset:
    rng = np.random.default_rng(8)
    high = 256 if network.static else 2
    images = rng.integers(0, high, (count, *shape)).astype(np.uint8)
    images[rng.random(images.shape) < 0.4] = 0
    return Dataset("noise", "test", images, rng.integers(0, len(classes), count), classes)


@pytest.fixture(scope="module")
def image_build(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    network = make_network((36, 12, 4), StaticInput(shape=(6, 6), bits=4), 5)
    folder = make_build(network, tmp_path_factory.mktemp("image") / "build")
    return folder, make_data(network, 30, ("shirt", "<i>boot</i>", "bag", "coat"), (6, 6))


class _Reader(HTMLParser):
    """Collects addresses and tags, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "data", "srcset")
                           or (name == "xlink:href" and not (value or "").startswith("#"))]
        if tag not in ("img", "meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(path: Path) -> str:
    """Well-formed, self-contained, without scripts, small; returns its text."""
    text = path.read_text(encoding="utf-8")
    reader = _Reader()
    reader.feed(text)
    assert reader.open == []
    assert "script" not in reader.tags
    assert "link" not in reader.tags
    assert all(address.startswith("data:image/") for address in reader.addresses), "loads something from outside"
    page = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text)
    assert not re.search(r"@import|url\((?!#p)|https?://", page)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert len(text) < 2_000_000
    return text


def test_says_what_was_measured(image_build: tuple[Path, Dataset], tmp_path: Path) -> None:
    folder, data = image_build
    stages: list[str] = []
    path = spikeloom.report(folder, tmp_path / "new" / "report.html", data, clock_mhz=50.0, progress=stages.append)
    text = check_page(path)
    network, manifest = spikeloom.load(folder), read_manifest(folder)
    latency = predict_latency(network, manifest, data.images)
    accuracy = spikeloom.evaluate(network, data).accuracy
    for fact in (network.hash, network.topology, f"{100 * accuracy:.2f}\u202f%", f"<b>{latency.mean():,.1f}</b>",
                 f"<b>{latency.mean() / 50:.2f}</b>", "recipe.seed", "test_accuracy",
                 f"{manifest.memory_bits:,}", "amaranth", "Not synthesised", "accumulator",
                 "ties: lowest index"):
        assert fact in text, fact
    for layer in manifest.to_json()["layers"]:
        assert f"<td>{layer['potential_bits']}</td>" in text
    assert text.count("<figure>") == 5
    assert "&lt;i&gt;boot&lt;/i&gt;" in text
    assert "&lt;script&gt;" in text
    assert f"spikeloom synth {folder} --device" in text
    assert ">layer0</text>" in text  # text of pictures is text
    assert stages


def test_same_input_same_bytes(image_build: tuple[Path, Dataset], tmp_path: Path) -> None:
    folder, data = image_build
    first = spikeloom.report(folder, tmp_path / "a.html", data)
    assert first.read_bytes() == spikeloom.report(folder, tmp_path / "b.html", data).read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_fold_in_the_page_is_a_fold_file(image_build: tuple[Path, Dataset], tmp_path: Path) -> None:
    from spikeloom.gen.fold import load_fold
    folder, _ = image_build
    fold = read_manifest(folder).fold
    file = tmp_path / f"{fold['name']}.json"  # a fold is named by its file
    file.write_text(html_report._fold_json(fold))
    assert load_fold(str(file), spikeloom.load(folder)).to_dict() == fold


def test_resources_with_bars(image_build: tuple[Path, Dataset], tmp_path: Path,
                             monkeypatch: pytest.MonkeyPatch) -> None:
    folder, data = image_build

    def counted(folder: Path, device: str, **_: Any) -> SynthResult:
        return SynthResult(device=device, lut=6600, ff=1320, bram=3, dsp=0, bram_unit="SB_RAM40_4K", fits=False,
                           cells={"SB_LUT4": 6600}, tool="yosys 1.2.3", command="a; b", wall_s=12.0)

    monkeypatch.setattr(html_report, "synthesize", counted)
    text = check_page(spikeloom.report(folder, tmp_path / "r.html", data, device="ice40-up5k"))
    assert "6,600" in text
    assert "5,280" in text
    assert 'meter long over"><i style="width:100.00%"' in text
    assert 'meter long"><i style="width:25.00%"' in text
    assert "does not fit" in text
    text = check_page(spikeloom.report(folder, tmp_path / "r.html", data, device="xc7"))  # capacity unknown
    assert "6,600" in text


@pytest.mark.parametrize(("sizes", "inp", "steps", "classes", "shape", "fold"), [
    ((32, 9, 3), SpikeInput(shape=(2, 4, 4)), 12, 3, (12, 2, 4, 4), {"window_steps": 4}),
    ((20, 6, 2), SpikeInput(shape=(20,)), 6, 2, (6, 20), {}),
    ((7, 6, 6, 6, 6, 6, 6, 5), StaticInput(shape=(7,), bits=8), 3, 5, (7,), {}),
    ((27, 30), StaticInput(shape=(3, 3, 3), bits=2), 4, 30, (3, 3, 3), {}),
    ((4, 1), StaticInput(shape=(1, 2, 2), bits=1), 1, 1, (1, 2, 2), {}),
])
def test_any_network(tmp_path: Path, sizes: tuple[int, ...], inp: StaticInput | SpikeInput, steps: int, classes: int,
                     shape: tuple[int, ...], fold: dict[str, Any]) -> None:
    network = make_network(sizes, inp, steps)
    folder = make_build(network, tmp_path / "build", **fold)
    names = tuple(f"class {k}" for k in range(classes))
    check_page(spikeloom.report(folder, tmp_path / "r.html", make_data(network, 12, names, shape)))


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("seed", [3, 11])
def test_convolutions_pools_and_external_weights(tmp_path: Path, seed: int, external: bool) -> None:
    rng = np.random.default_rng(seed)
    network = random_conv_network(rng)
    fold = random_fold(rng, network)
    while external and not spikeloom.compile(network, fold).tables:
        fold = make_external(rng, network, fold)
    spikeloom.write(spikeloom.compile(network, fold), tmp_path / "build")
    samples = random_samples(rng, network, 8)
    data = Dataset("maps", "test", samples, rng.integers(0, network.classes, 8), ("a",) * network.classes)
    text = check_page(spikeloom.report(tmp_path / "build", tmp_path / "r.html", data))
    assert network.topology in text
    assert ("<td>external</td>" in text) == external


def test_one_sample(image_build: tuple[Path, Dataset], tmp_path: Path) -> None:
    folder, data = image_build
    odd = Dataset("odd", "test", data.images[:1], data.labels[:1], data.classes)
    text = check_page(spikeloom.report(folder, tmp_path / "r.html", odd))
    assert "throughput" not in text


@pytest.mark.parametrize(("labels", "why"), [
    ([6], "label of sample 0 must be in 0..3, not 6"), ([-5], "not -5"), ([30_000], "not 30000"), ([1, 2], "of shape"),
    ([np.nan], "integers"), (np.array([1 << 63], np.uint64), "not 9223372036854775808"),
])
def test_labels_beyond_the_network(image_build: tuple[Path, Dataset], tmp_path: Path, labels: Any, why: str) -> None:
    folder, data = image_build
    odd = Dataset("odd", "test", data.images[:1], np.array(labels), tuple("abcdefgh"))
    with pytest.raises(spikeloom.SpikeloomError, match=f"data odd: .*{why}"):
        spikeloom.report(folder, tmp_path / "r.html", odd)
    assert not list(tmp_path.iterdir())


def test_names_of_many_classes_take_no_room(image_build: tuple[Path, Dataset], tmp_path: Path) -> None:
    """A file may have labels, behind the samples that are taken, which no sample here has."""
    folder, data = image_build
    many = dataclasses.replace(data, classes=tuple(str(c) for c in range(60_000)))
    check_page(spikeloom.report(folder, tmp_path / "r.html", many))


def test_only_pages_are_replaced(image_build: tuple[Path, Dataset], tmp_path: Path) -> None:
    folder, data = image_build
    page = spikeloom.report(folder, tmp_path / "r.html", data)
    spikeloom.report(folder, page, data)
    for name in ("thesis.html", "manifest.json"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(spikeloom.SpikeloomError, match="not a file that this command wrote"):
            spikeloom.report(folder, tmp_path / name, data)
        assert (tmp_path / name).read_text() == "mine"
    with pytest.raises(spikeloom.SpikeloomError, match="not a regular file"):
        spikeloom.report(folder, "/dev/null", data)


@pytest.mark.parametrize(("change", "message"), [
    ({"clock_mhz": 0.0}, "clock_mhz must be a number in"),
    ({"clock_mhz": float("nan")}, "clock_mhz must be a number in"),
    ({"device": "lfe5u-85"}, "did you mean lfe5u-85f"),
])
def test_bad_options(image_build: tuple[Path, Dataset], tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(spikeloom.SpikeloomError, match=message):
        spikeloom.report(image_build[0], tmp_path / "r.html", image_build[1], **change)
    assert not list(tmp_path.iterdir())


def test_bad_data_leave_the_old_page(image_build: tuple[Path, Dataset], tmp_path: Path) -> None:
    folder, data = image_build
    page = tmp_path / "r.html"
    old = '<meta charset="utf-8">\n<meta name="generator" content="spikeloom">'
    page.write_text(old)
    wrong = Dataset("wrong", "test", data.images[:, :5], data.labels, data.classes)
    with pytest.raises(spikeloom.SpikeloomError, match="a sample must be uint8 of shape"):
        spikeloom.report(folder, page, wrong)
    empty = Dataset("empty", "test", data.images[:0], data.labels[:0], data.classes)
    with pytest.raises(spikeloom.SpikeloomError, match="no samples"):
        spikeloom.report(folder, page, empty)
    assert page.read_text() == old
    assert list(tmp_path.iterdir()) == [page]


def test_cannot_be_written(image_build: tuple[Path, Dataset], tmp_path: Path) -> None:
    folder, data = image_build
    (tmp_path / "file").write_text("")
    with pytest.raises(spikeloom.SpikeloomError, match=r"cannot be written|does not exist"):
        spikeloom.report(folder, tmp_path / "file" / "r.html", data)
    with pytest.raises(spikeloom.SpikeloomError, match="is a folder"):
        spikeloom.report(folder, tmp_path, data)


def test_no_build(tmp_path: Path, image_build: tuple[Path, Dataset]) -> None:
    with pytest.raises(spikeloom.SpikeloomError, match="not a build folder"):
        spikeloom.report(tmp_path, tmp_path / "r.html", image_build[1])
