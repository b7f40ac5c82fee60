"""Interfaces as single ports, with the names of ports that tools know: ``s_axil_awaddr`` instead of ``axi__awaddr``."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

__all__ = ["connect_flat", "flat_ports"]


def flat_ports(prefix: str, signature: wiring.Signature) -> dict[str, Any]:
    """Members of a component for an interface of it."""
    return {f"{prefix}_{name}": member for name, member in signature.members.items()}


def connect_flat(m: Module, component: wiring.Component, prefix: str, interface: Any) -> None:
    """Connect such members of ``component`` with the interface of a part that they stand for."""
    for name, member in interface.signature.members.items():
        outside, inside = getattr(component, f"{prefix}_{name}"), getattr(interface, name)
        m.d.comb += outside.eq(inside) if member.flow == Out else inside.eq(outside)
