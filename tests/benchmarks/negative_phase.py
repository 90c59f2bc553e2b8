"""The negative phase of one training step, beside its matrix products alone.

128 persistent chains of an RBM with 64 x 64 units, 10 sweeps, then the mean
energy of the new states and its gradient. ``--old PATH`` compares with an
older checkout, in the same run.
"""

import contextlib

import torch
from timing import compare, imported_from, old_checkout

CHAINS, SWEEPS, UNITS = 128, 10, 64
STEPS = 50  # a step is too short to be timed alone


def steps(path=None):
    """The phase, and its draws alone, by the package at `path` or ours."""
    with imported_from(path) if path else contextlib.nullcontext():
        from qbmvae_mini import RBM, GibbsSampler
        from qbmvae_mini.latents import BoltzmannLatent
    machine = RBM(UNITS, UNITS)
    sampler = GibbsSampler(chains=CHAINS, sweeps=SWEEPS)
    latent = BoltzmannLatent(machine, sampler)

    def negative_phase():
        for _ in range(STEPS):
            machine.zero_grad()
            latent.negative_phase().backward()

    def draws():
        for _ in range(STEPS):
            sampler.sample(machine, CHAINS)

    return negative_phase, draws


def main():
    z, W = torch.rand(CHAINS, UNITS), torch.randn(UNITS, UNITS)
    out = torch.empty(CHAINS, UNITS)

    def products():
        for _ in range(STEPS * SWEEPS * 2):
            torch.mm(z, W, out=out)

    phase, draws = steps()
    functions = {
        "negative phase and its gradient": phase,
        "its draws alone": draws,
        "its matrix products alone": products,
    }
    old = old_checkout()
    if old:
        phase, draws = steps(old)
        functions = {"old draws alone": draws} | functions
        functions["old negative phase"] = phase
    print(f"{STEPS} steps, one thread; x of the last line")
    taken = compare(functions, repeats=25)
    for name, seconds in taken.items():
        print(f"{name:40s} {1e3 * seconds / STEPS:10.2f} ms a step")


if __name__ == "__main__":
    main()
