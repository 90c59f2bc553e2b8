"""Sweeps of many chains against neal and the matrix products alone.

Then Gibbs and tempering on a glassy machine, for the same CPU time.
"""

import functools
import math

import dimod
import neal
import numpy as np
import torch
from timing import compare, cpu_seconds

from qbmvae_mini import (
    RBM,
    BoltzmannMachine,
    DimodSampler,
    GibbsSampler,
    TemperingSampler,
)

CHAINS, SWEEPS = 1000, 20


@functools.cache
def matrices(n):
    """States, weights, and memory for their product, taken once."""
    return torch.rand(CHAINS, n), torch.randn(n, n), torch.empty(CHAINS, n)


def product(n):
    """The matrix product of one layer, into memory that is there already."""
    z, W, out = matrices(n)
    torch.mm(z, W, out=out)


def against_neal(machine, products):
    """CPU time of `SWEEPS` sweeps; `products` is the floor of one sweep."""
    gibbs = GibbsSampler(chains=CHAINS, sweeps=SWEEPS)
    child = neal.SimulatedAnnealingSampler()
    annealer = DimodSampler(child, num_sweeps=SWEEPS)
    neal_at_one = "neal at beta (1, 1)"
    taken = compare(
        {
            "matrix products alone": lambda: [
                products() for _ in range(SWEEPS)
            ],
            "GibbsSampler": lambda: gibbs.sample(machine, CHAINS),
            neal_at_one: lambda: annealer.sample(machine, CHAINS),
        }
    )
    floor, ours, theirs = taken.values()
    print(f"Gibbs is {theirs / ours:.1f} x neal, {floor / ours:.0%} of floor\n")


def glassy_machine(n=128, sd=0.3, seed=0):
    """An RBM with random couplings between spins and no fields."""
    rng = np.random.default_rng(seed)
    couplings = {
        (i, n + j): float(coupling)
        for (i, j), coupling in np.ndenumerate(rng.normal(0, sd, (n, n)))
    }
    bqm = dimod.BinaryQuadraticModel.from_ising({}, couplings)
    return RBM.from_bqm(bqm, n)


def energy_of(sampler, machine):
    """Mean energy of one draw a chain, its standard error, CPU seconds."""
    found = []
    seconds = cpu_seconds(
        lambda: found.append(sampler.sample(machine, sampler.chains))
    )
    energy = machine.energy(found[0]).detach().double()
    return energy.mean(), energy.std() / math.sqrt(len(energy)), seconds


def glass():
    machine = glassy_machine()
    print("glassy 128 x 128 RBM, spin couplings of sd 0.3: mean energy, nats")
    for seed in (100, 101):  # two references, which must agree
        long_run = TemperingSampler(256, 32, sweeps=1000, seed=seed)
        report(f"reference {seed}", *energy_of(long_run, machine))
    for seed in range(3):
        tempering = TemperingSampler(64, 16, sweeps=300, seed=seed)
        mean, error, seconds = energy_of(tempering, machine)
        report(f"tempering, seed {seed}", mean, error, seconds)
        trial = GibbsSampler(64, sweeps=1000, persistent=False, seed=seed)
        sweeps = round(1000 * seconds / energy_of(trial, machine)[2])
        gibbs = GibbsSampler(64, sweeps=sweeps, persistent=False, seed=seed)
        name = f"Gibbs, seed {seed}, {sweeps} sweeps"
        report(name, *energy_of(gibbs, machine))


def report(name, mean, error, seconds):
    print(f"{name:32s} {mean:10.2f} +- {error:4.2f} {seconds:8.2f} CPU-s")


def main():
    print(f"{SWEEPS} sweeps of {CHAINS} chains, one thread")
    print("RBM 128 x 128")
    against_neal(RBM(128, 128), lambda: [product(128) for _ in range(2)])
    print("dense machine, 256 units")
    against_neal(BoltzmannMachine(256), lambda: product(256))
    small = RBM(64, 64)
    prior = GibbsSampler(chains=128, sweeps=10)
    print("negative phase: 10 sweeps of 128 chains, 64 x 64 RBM")
    compare({"GibbsSampler": lambda: prior.sample(small, 128)}, repeats=50)
    print()
    glass()


if __name__ == "__main__":
    main()
