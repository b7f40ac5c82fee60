"""A stand-in for the generator: behavioural Verilog that keeps the contract of a build folder.

It computes the network with loops over integers, sends each layer's spikes one layer after the other, and
shares no code with `gen/`: what the co-simulation says about it depends on the co-simulation alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt

from spikeloom.gen.manifest import Manifest
from spikeloom.model.network import Dense, Layer, Network, Neuron, Readout, SpikeInput, StaticInput
from spikeloom.model.network_file import save_network
from spikeloom.model.numerics import Shift, unsigned_bits

from .layers import thresholds

__all__ = ["Stub", "break_verilog", "seal", "small_network", "write_stub"]

TEMPLATE = """\
module snn_top (
    input clk, input rst,
    input i__valid, output i__ready, input [{{ items * item_bits - 1 }}:0] i__payload,
    output o__valid, input o__ready, output reg [{{ class_bits - 1 }}:0] o__payload
);
  localparam ITEMS = {{ items }}, BITS = {{ item_bits }}, BEATS = {{ beats }};
  localparam W = {{ window }}, T = {{ steps }}, V = {{ windows }};
  reg [BITS-1:0] x[0:ITEMS*BEATS-1];
  integer phase, beat, window, t, n, i, sum, best;  // phase 0: input, l + 1: spikes of layer l, last: result
  assign i__ready = phase == 0;
  assign o__valid = phase == {{ layers | length + 1 }};
{% for la in layers %}
  integer weight_{{ la.name }}[0:{{ la.inputs * la.neurons - 1 }}], bias_{{ la.name }}[0:{{ la.neurons - 1 }}];
  integer threshold_{{ la.name }}[0:{{ la.neurons - 1 }}];
  integer j_{{ la.name }}[0:{{ la.neurons - 1 }}], u_{{ la.name }}[0:{{ la.neurons - 1 }}];
  reg [W-1:0] s_{{ la.name }}[0:{{ la.neurons - 1 }}];
  initial $readmemh("{{ la.name }}_weight.hex", weight_{{ la.name }});
  initial $readmemh("{{ la.name }}_bias.hex", bias_{{ la.name }});
  initial $readmemh("{{ la.name }}_threshold.hex", threshold_{{ la.name }});
  wire spikes_{{ la.name }}_valid = phase == {{ loop.index }};
  // The last layer makes its sender wait every other cycle.
  reg toggle_{{ la.name }};
  wire spikes_{{ la.name }}_ready = {{ "toggle_" ~ la.name if loop.last else "1'b1" }};
  reg [{{ la.units }}*W-1:0] spikes_{{ la.name }}_payload;
  integer p_{{ la.name }}, lane_{{ la.name }}, neuron_{{ la.name }};
  always @* begin
    spikes_{{ la.name }}_payload = 0;
    for (p_{{ la.name }} = 0; p_{{ la.name }} < {{ la.units }}; p_{{ la.name }} = p_{{ la.name }} + 1) begin
      lane_{{ la.name }} = beat % {{ la.per_group }} * {{ la.units }} + p_{{ la.name }};
      neuron_{{ la.name }} = beat / {{ la.per_group }} * {{ la.lanes }} + lane_{{ la.name }};
      if (lane_{{ la.name }} < {{ la.lanes }} && neuron_{{ la.name }} < {{ la.neurons }})
        spikes_{{ la.name }}_payload[p_{{ la.name }}*W +: W] = s_{{ la.name }}[neuron_{{ la.name }}];
    end
  end
{% endfor %}
  integer step_weight[0:T-1], score[0:{{ layers[-1].neurons - 1 }}];
  initial $readmemh("readout.hex", step_weight);

  task clear;
    begin
      window = 0;
{% for la in layers %}
      for (n = 0; n < {{ la.neurons }}; n = n + 1) begin j_{{ la.name }}[n] = 0; u_{{ la.name }}[n] = 0; end
{% endfor %}
      for (n = 0; n < {{ layers[-1].neurons }}; n = n + 1) score[n] = 0;
    end
  endtask

  task run_window;
    begin
{% for la in layers %}
      for (n = 0; n < {{ la.neurons }}; n = n + 1) begin
        s_{{ la.name }}[n] = 0;
        for (t = 0; t < W; t = t + 1) if (window * W + t < T) begin
          sum = bias_{{ la.name }}[n];
          for (i = 0; i < {{ la.inputs }}; i = i + 1)
            sum = sum + weight_{{ la.name }}[n*{{ la.inputs }}+i] * {{ la.source }};
          j_{{ la.name }}[n] = j_{{ la.name }}[n] - (j_{{ la.name }}[n] >>> {{ la.tau_s }})
                             + (sum <<< {{ la.fraction }});
          u_{{ la.name }}[n] = u_{{ la.name }}[n] - (u_{{ la.name }}[n] >>> {{ la.tau_m }}) + j_{{ la.name }}[n];
          if (u_{{ la.name }}[n] > threshold_{{ la.name }}[n]) begin
            s_{{ la.name }}[n][t] = 1;
            u_{{ la.name }}[n] = 0;
{% if loop.last %}
            score[n] = score[n] + step_weight[window*W+t];
{% endif %}
          end
        end
      end
{% endfor %}
    end
  endtask

  always @(posedge clk) begin
    if (rst) begin
      phase <= 0;
      beat <= 0;
      clear;
    end else if (phase == 0) begin
      if (i__valid) begin
        for (i = 0; i < ITEMS; i = i + 1) x[beat*ITEMS+i] = i__payload[i*BITS +: BITS];
        beat <= beat + 1;
        if (beat == BEATS - 1) begin
          run_window;
          beat <= 0;
          phase <= 1;
        end
      end
{% for la in layers %}
    end else if (phase == {{ loop.index }}) begin
      if (spikes_{{ la.name }}_ready) begin
        beat <= beat + 1;
        if (beat == {{ la.beats - 1 }}) begin
          beat <= 0;
{% if loop.last %}
          window = window + 1;
          phase <= window == V ? phase + 1 : 0;
          best = 0;
          for (n = 1; n < {{ la.neurons }}; n = n + 1) if (score[n] > score[best]) best = n;
          o__payload <= best[{{ class_bits - 1 }}:0];
{% else %}
          phase <= phase + 1;
{% endif %}
        end
      end
{% endfor %}
    end else if (o__ready) begin
      phase <= 0;
      clear;
    end
{% for la in layers %}
    toggle_{{ la.name }} <= phase == {{ loop.index }} && !toggle_{{ la.name }};
{% endfor %}
  end
endmodule
"""

LINT = """\
`verilator_config
// The stub computes with 32-bit integers and mixes loops with registers.
lint_off -rule WIDTHEXPAND -file "*snn_top.v"
lint_off -rule WIDTHTRUNC -file "*snn_top.v"
lint_off -rule BLKSEQ -file "*snn_top.v"
lint_off -rule BLKANDNBLK -file "*snn_top.v"
lint_off -rule UNUSEDSIGNAL -file "*snn_top.v"
"""


@dataclass(frozen=True)
class Stub:
    """A stub's build folder.

    Attributes
    ----------
    folder : Path
    network : Network
    samples : uint8 array
        Random ones.
    latency : int
        Cycles of every sample.
    """

    folder: Path
    network: Network
    samples: npt.NDArray[np.uint8]
    latency: int

    def predict(self, network: Network, manifest: Manifest, samples: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The stub's cycle model."""
        assert network.hash == manifest.network.hash
        return np.full(len(samples), self.latency)


def small_network(*, static: bool, steps: int, seed: int = 8) -> Network:
    """7 inputs, 6 hidden neurons, 3 classes, lively."""
    rng = np.random.default_rng(seed)

    def layer(name: str, inputs: int, outputs: int, threshold: int) -> Layer:
        neuron = Neuron(synapse=Shift(1), membrane=Shift(2), fraction_bits=2,
                        threshold=rng.integers(threshold // 2, threshold, outputs))
        return Layer(name=name, neuron=neuron, connection=Dense(
            weight=rng.integers(-7, 8, (outputs, inputs)), weight_bits=4, bias=rng.integers(-3, 4, outputs)))

    return Network.chain(name="stub", input=StaticInput(shape=(7,), bits=3) if static else SpikeInput(shape=(7,)),
                   layers=(layer("hidden", 7, 6, 200 if static else 40), layer("out_1", 6, 3, 40)), steps=steps,
                   readout=Readout.psc_sum(steps, Shift(1)))


def write_stub(folder: Path, network: Network, *, window: int, items: int = 2,
               folds: tuple[tuple[int, int], ...] = ((4, 3), (2, 1))) -> Stub:
    """Write a build folder; ``folds`` are (lanes, units) of the layers."""
    folder.mkdir()
    windows = -(-network.steps // window)
    item_bits = network.planes(0) if network.static else window
    beats = -(-network.input.size // items)
    source = "$signed({1'b0, x[i]})" if network.static else "x[i][t]"
    layers: list[dict[str, Any]] = []
    for la, (lanes, units) in zip(network.layers, folds, strict=True):
        per_group = -(-lanes // units)
        groups = -(-la.connection.outputs // lanes)
        assert isinstance(la.neuron.synapse, Shift)
        assert isinstance(la.neuron.membrane, Shift)
        layers.append({"name": la.name, "inputs": la.connection.inputs, "neurons": la.connection.outputs,
                       "lanes": lanes, "units": units, "per_group": per_group, "groups": groups,
                       "beats": groups * per_group, "source": source, "fraction": la.neuron.fraction_bits,
                       "tau_s": la.neuron.synapse.k, "tau_m": la.neuron.membrane.k})
        source = f"s_{la.name}[i][t]"
        for name, values in (("weight", la.connection.weight), ("bias", la.biases), ("threshold", thresholds(la))):
            write_hex(folder / f"{la.name}_{name}.hex", values)
    write_hex(folder / "readout.hex", np.array(network.step_weights))
    class_bits = unsigned_bits(network.classes - 1)
    text = jinja2.Template(TEMPLATE, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True).render(
        items=items, item_bits=item_bits, beats=beats, window=window, windows=windows, steps=network.steps,
        class_bits=class_bits, layers=layers)
    (folder / "snn_top.v").write_text(text)
    (folder / "lint.vlt").write_text(LINT)
    save_network(network, folder / "network.snn")
    memories = {path.name: 32 * len(path.read_text().split()) for path in folder.glob("*.hex")}
    seal(folder, {
        "format": "spikeloom-build", "version": 1, "top": "snn_top", "sources": ["snn_top.v"],
        "network": {"name": network.name, "hash": network.hash, "topology": network.topology, "steps": network.steps,
                    "input": {"kind": "static" if network.static else "spikes", "shape": [network.input.size]}},
        "fold": {}, "window_steps": window, "windows": windows, "classes": network.classes, "class_bits": class_bits,
        "input": {"items_per_beat": items, "item_bits": item_bits, "beats_per_window": beats},
        "layers": [{"name": la["name"], "neurons": la["neurons"], "lanes": la["lanes"], "units": la["units"],
                    "groups": la["groups"], "beats_per_window": la["beats"], "item_bits": window,
                    "kind": "dense", "sources": ["before"], "input_shape": [la["inputs"]],
                    "output_shape": [la["neurons"]],
                    "inputs": la["inputs"], "tile": 1, "event_memory_bits": 0, "weights": "on chip",
                    "pipelined": False, "updates": "all", "multipliers": 0, "inputs_per_cycle": 1,
                    "weight_bits": 32, "accumulator_bits": 32,
                    "drive_bits": 32, "register_bits": {}, "potential_bits": 32, "accumulators": 1,
                    "weight_memory_bits": memories[f"{la['name']}_weight.hex"]} for la in layers],
        "external": [], "readout": {"kind": network.readout.kind, "ties": network.readout.ties,
                                    "early_exit": False, "beats": 1},
        "memory_files": memories, "memory_bits": sum(memories.values()),
        "predicted_cycles": {"min": 1, "max": None}, "versions": {},
    })
    rng = np.random.default_rng(1)
    samples = (rng.integers(0, 256, (40, 7)) if network.static
               else rng.integers(0, 2, (40, network.steps, 7))).astype(np.uint8)
    latency = windows * (beats + layers[0]["beats"] + 2 * layers[1]["beats"])
    return Stub(folder, network, samples, latency)


def write_hex(path: Path, values: npt.NDArray[Any]) -> None:
    path.write_text("".join(f"{int(v) & 0xFFFFFFFF:08x}\n" for v in values.flat))


def break_verilog(folder: Path, old: str, new: str) -> None:
    """Replace text that occurs exactly once in a build's Verilog."""
    file = folder / "snn_top.v"
    text = file.read_text()
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times"
    file.write_text(text.replace(old, new))
    seal(folder)


def seal(folder: Path, fields: dict[str, Any] | None = None, **changes: Any) -> None:
    """Write a build's manifest for the files that are there now, with these fields, or with changes of the old ones."""
    file = folder / "manifest.json"
    if fields is None:
        fields = json.loads(file.read_text())
        del fields["files"], fields["seal"]
    fields = fields | changes
    fields["files"] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
                       for path in sorted(folder.iterdir()) if path != file}
    fields["seal"] = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    file.write_text(json.dumps(fields))
