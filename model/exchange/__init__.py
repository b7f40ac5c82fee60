"""How networks come and go: NIR and its dialects.

NIR: Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for interoperable
brain-inspired computing", Nature Communications 2024.
"""
