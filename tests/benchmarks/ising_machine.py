"""What the simulated coherent Ising machine draws, how fast, and what not."""

import math
import time

import dimod
import numpy as np
import torch

from qbmvae_mini.estimates import distance_to_exact, effective_beta
from qbmvae_mini.machines import BoltzmannMachine
from qbmvae_mini.samplers import DimodSampler
from qbmvae_mini.samplers.ising_machine import CoherentIsingMachine

READS = 4000
NOISES = (0.05, 0.2, 0.5, 0.8, 1.0, 1.5, 3.0)


@torch.no_grad()
def boltzmann_machine(n_units, seed):
    """Dense, with biases and couplings of standard deviation 0.8."""
    generator = torch.Generator().manual_seed(seed)
    machine = BoltzmannMachine(n_units).double()
    machine.bias.normal_(0, 0.8, generator=generator)
    machine.coupling.normal_(0, 0.8, generator=generator)
    return machine


def spin_glass(n, seed):
    """Sherrington and Kirkpatrick's model without fields."""
    pair = np.random.default_rng(seed).normal(0, 1 / math.sqrt(n), (n, n))
    pairs = {(i, j): pair[i, j] for i in range(n) for j in range(i)}
    return dimod.BinaryQuadraticModel({}, pairs, 0, "SPIN")


def law(machine, **kwargs):
    """One line: distance to exp(-E)/Z beside its floor, and the best beta."""
    child = CoherentIsingMachine()
    z = DimodSampler(child, **kwargs).sample(machine, READS)
    distance = distance_to_exact(machine, z)
    try:
        beta = f"{effective_beta(machine, z).value:7.2f}"
    except ValueError:  # every unit at rest in every read
        beta = "    inf"
    return (
        f"TV {distance.total_variation:.3f} (floor {distance.floor:.3f}), "
        f"effective beta {beta}, {len(z.unique(dim=0)):3d} states"
    )


def main():
    torch.set_num_threads(1)
    for n_units in (6, 8):
        machine = boltzmann_machine(n_units, seed=1)
        for readout in ("best", "last"):
            print(f"{n_units} units, readout {readout!r}, {READS} reads")
            for noise in NOISES:
                line = law(machine, readout=readout, noise=noise)
                print(f"  noise {noise:4.2f}: {line}")
    shares = []
    for seed in range(10):
        bqm = spin_glass(16, seed)
        lowest = dimod.ExactSolver().sample(bqm).first.energy
        found = CoherentIsingMachine().sample(bqm, num_reads=100, seed=1)
        shares.append((found.record.energy < lowest + 1e-9).mean())
    print(
        f"ground state of 16 spins: in {np.mean(shares):.0%} of reads, in the "
        f"worst of 10 glasses {np.min(shares):.0%}"
    )
    for n, reads in ((8, 2000), (64, 1000), (256, 200)):
        bqm = spin_glass(n, 0)
        start = time.process_time()
        CoherentIsingMachine().sample(bqm, num_reads=reads, seed=1)
        print(
            f"{reads} reads of {n} spins: {time.process_time() - start:.2f} s"
        )


if __name__ == "__main__":
    main()
