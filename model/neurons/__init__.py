"""What a neuron does: one function of one time step over integers, from which everything else follows.

A neuron type declares registers and constants and writes its step as Python over abstract numbers
(:class:`.NeuronType`). Recorded once, that becomes a list of operations (:class:`.Program`), and each use is one
reading of the list: NumPy arrays (:mod:`.arrays`), intervals for proved widths (:mod:`.intervals`), words
(:mod:`.wording`), and hardware and training elsewhere.
"""

__all__: list[str] = []
