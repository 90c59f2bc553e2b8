"""Machines: an energy for every state of n bits, classical or quantum.

- `BoltzmannMachine`: any graph of couplings.
- `RBM`: two layers, couplings only between them.
- `QuantumBoltzmannMachine`: one of these in a transverse field.

What their neighbours may ask of any of them is declared in `Machine`.
"""

from qbmvae_mini.machines.base import (
    Machine,
    check_classical,
    check_is_machine,
    check_quantum,
    checked_bits,
)
from qbmvae_mini.machines.boltzmann import BoltzmannMachine
from qbmvae_mini.machines.graphs import Conditional
from qbmvae_mini.machines.listing import Listing
from qbmvae_mini.machines.quantum import QuantumBoltzmannMachine
from qbmvae_mini.machines.rbm import RBM
from qbmvae_mini.machines.states import all_states

__all__ = [
    "RBM",
    "BoltzmannMachine",
    "Conditional",
    "Listing",
    "Machine",
    "QuantumBoltzmannMachine",
    "all_states",
    "check_classical",
    "check_is_machine",
    "check_quantum",
    "checked_bits",
]
