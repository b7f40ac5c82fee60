"""What software sees of an accelerator: its registers."""

from __future__ import annotations

from dataclasses import dataclass

from .registers import WORD_BITS, Field, Register, RegisterMap

__all__ = ["HASH_WORDS", "IDENTITY", "MAP_VERSION", "ControlConfig", "base_registers", "control_registers",
           "hash_words"]

IDENTITY = int.from_bytes(b"SNN1", "big")
MAP_VERSION = 1  # counts when the meaning of a register changes
HASH_WORDS = 4


@dataclass(frozen=True, kw_only=True)
class ControlConfig:
    """What the registers depend on.

    Parameters
    ----------
    network_hash : str
        Hexadecimal; the first 128 bits are shown.
    class_bits : int
        Of the result; 0 if there is none but a raster of spikes.
    tables : sequence of (layer, address bits)
        External weights.
    weight_sets : int
        Sets of weights that can be written, 0 to 2.
    set_words : int
        Words of such a set.
    set_shape : int
        A word that says for which hardware such a set is.
    scored_classes : int
        Classes whose scores are shown; 0 if there are no scores.
    filled : bool
        Something else than the host fills weight RAMs after a reset.
    """

    network_hash: str
    class_bits: int
    tables: tuple[tuple[str, int], ...] = ()
    weight_sets: int = 0
    set_words: int = 0
    set_shape: int = 0
    scored_classes: int = 0
    filled: bool = False


def hash_words(network_hash: str) -> tuple[int, ...]:
    """What the hash registers show of a network's hash."""
    return tuple(int(network_hash[8 * word:8 * word + 8], 16) for word in range(HASH_WORDS))


def control_registers(config: ControlConfig) -> RegisterMap:
    """The registers of an accelerator."""
    registers: list[Register] = []

    def add(name: str, text: str, *fields: Field) -> None:
        registers.append(Register(name=name, text=text, offset=4 * len(registers), fields=fields))

    add("identity", "Says what this is.",
        Field(name="value", text='"SNN1" in ASCII', bits=32, access="constant", reset=IDENTITY))
    add("version", "Version of these registers.",
        Field(name="value", text="counts", bits=16, access="constant", reset=MAP_VERSION))
    for word, digits in enumerate(hash_words(config.network_hash)):
        add(f"hash{word}", "The network's hash, from its first digit on" + (
                ": that of the weights in use; 0 while there are none." if config.weight_sets else "."),
            Field(name="value", text=f"hexadecimal digits {8 * word} to {8 * word + 7}", bits=32,
                  access="status" if config.weight_sets else "constant", reset=digits))
    add("control", "What it is to do.",
        Field(name="enable", text="takes packets; without it, none is begun", access="control", reset=1),
        Field(name="soft_reset", low=1, access="pulse",
              text="ends all that is under way; what has been counted stays" +
                   ("; memory transfers that are under way are waited for" if config.tables else "")))
    add("status", "What it does.",
        Field(name="busy", text="a packet is under way, or a result"))
    add("interrupt_enable", "Which events raise the interrupt.",
        Field(name="done", text="a result was given", access="control"),
        Field(name="error", low=1, text="a packet was malformed, or a memory answered with an error", access="control"))
    refused = [Field(name="refused", low=5, access="event", text="a set of weights was to be used that had not come "
                     "as a whole: " + ("what was in use still is" if config.weight_sets == 2 else "none is in use"))]
    add("events", "What has happened; write 1 to clear. The interrupt is set while an enabled event is.",
        Field(name="done", text="a result was given", access="event"),
        Field(name="error", low=1, text="any of the errors below", access="event"),
        Field(name="early", low=2, text="a packet ended too early: it was filled up with zeros", access="event"),
        Field(name="late", low=3, text="a packet was too long: the rest of it was thrown away", access="event"),
        Field(name="memory", low=4, access="event",
              text="a weight memory answered with an error; all results that were under way are bad"),
        *(refused if config.weight_sets else []))
    result = [Field(name="error", low=31, text="its packet was malformed, or a memory answered with an error")]
    if config.class_bits:
        result.insert(0, Field(name="class_index", bits=min(config.class_bits, 31), text="the class"))
    add("result", "The last result.", *result)
    add("cycles", "Clock cycles of the last result, from its first beat of input to itself.",
        Field(name="value", text="wraps", bits=WORD_BITS))
    add("results", "Results since reset.", Field(name="value", text="wraps", bits=WORD_BITS))
    add("malformed", "Malformed packets since reset.", Field(name="value", text="wraps", bits=WORD_BITS))
    if config.weight_sets:
        first = ("the set in use stays in use until then" if config.weight_sets == 2 else
                 "no packet begins until a set is in use again")
        add("load", "A set of weights and constants for another network of the same shape: begin, wait for ready, "
            "write all words and its hash, use, wait until pending is 0.",
            Field(name="begin", access="pulse", text=f"words that come are a set's from its first word on; {first}"),
            Field(name="use", low=1, access="pulse", text="between two packets the set is taken into use"),
            Field(name="ready", low=2, text="words may come"),
            Field(name="complete", low=3, text="all words have come"),
            Field(name="pending", low=4, text="the set waits for results that are under way"),
            Field(name="in_use", low=5, text="there is a set in use"))
        add("load_shape", "For which hardware a set is.",
            Field(name="value", text="that of spikeloom weights for this build", bits=32, access="constant",
                  reset=config.set_shape))
        add("load_word", "The next word of the set.",
            Field(name="value", text=f"one of {config.set_words}", bits=32, access="push"))
        for word in range(HASH_WORDS):
            add(f"load_hash{word}", "The hash of the network that the set is of.",
                Field(name="value", text=f"hexadecimal digits {8 * word} to {8 * word + 7}", bits=32,
                      access="control"))
    if config.filled:
        add("weights", "Weights that come from a flash after a reset. No packet begins before they are there.",
            Field(name="loading", text="they are on their way"),
            Field(name="failed", low=1, text="what the flash holds is not what this network needs, or cannot be read: "
                  "no packet begins until the host has written the weights and says so"),
            Field(name="written", low=2, access="pulse", text="the host has written them; failed is cleared"))
    for index, (layer, address_bits) in enumerate(config.tables):
        for low, name in base_registers(index, address_bits).items():
            add(name, f"Where the weight table of layer {layer} lies; to be set before the first packet.",
                Field(name="value", text=f"byte address, from bit {low} on", bits=min(32, address_bits - low),
                      access="control"))
    if config.scored_classes:
        add("score_index", "Which class's score is read.",
            Field(name="value", text=f"0 to {config.scored_classes - 1}", bits=config.class_bits, access="control"))
        add("score", "The score of that class in the last result, that whose class and cycles are read.",
            Field(name="value", text="two's complement; of a run that ends with the first spike 0 for a class that has "
                  "not spiked until then", bits=WORD_BITS))
    return RegisterMap(name="spikeloom", text="Registers of a spikeloom accelerator.", registers=tuple(registers))


def base_registers(index: int, address_bits: int) -> dict[int, str]:
    """Names of the registers that hold the base of a weight table, by the lowest address bit in each."""
    return {low: f"weights{index}_base_{part}" for part, low in (("low", 0), ("high", 32)) if address_bits > low}
