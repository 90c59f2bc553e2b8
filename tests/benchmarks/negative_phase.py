"""The negative phase of one training step, beside its matrix products alone.

128 persistent chains of an RBM with 64 x 64 units, 10 sweeps, then the mean
energy of the new states and its gradient.
"""

import torch
from timing import compare

from qbmvae_mini import RBM, GibbsSampler
from qbmvae_mini.latents import BoltzmannLatent

CHAINS, SWEEPS, UNITS = 128, 10, 64
STEPS = 50  # a step is too short to be timed alone


def main():
    machine = RBM(UNITS, UNITS)
    sampler = GibbsSampler(chains=CHAINS, sweeps=SWEEPS)
    latent = BoltzmannLatent(machine, sampler)
    z, W = torch.rand(CHAINS, UNITS), torch.randn(UNITS, UNITS)
    out = torch.empty(CHAINS, UNITS)

    def products():
        for _ in range(STEPS * SWEEPS * 2):
            torch.mm(z, W, out=out)

    def draws():
        for _ in range(STEPS):
            sampler.sample(machine, CHAINS)

    def negative_phase():
        for _ in range(STEPS):
            machine.zero_grad()
            latent.negative_phase().backward()

    print(f"{STEPS} steps, one thread")
    taken = compare(
        {
            "negative phase and its gradient": negative_phase,
            "its draws alone": draws,
            "its matrix products alone": products,
        },
        repeats=25,
    )
    for name, seconds in taken.items():
        print(f"{name:40s} {1e3 * seconds / STEPS:10.2f} ms a step")


if __name__ == "__main__":
    main()
