"""One sweep of 1,000 chains on a 128 x 128 RBM: Gibbs, neal, the matmul."""

import neal
import torch
from timing import compare

from qbmvae_mini import RBM, DimodSampler, GibbsSampler

CHAINS, SWEEPS = 1000, 20


def main():
    machine = RBM(128, 128)
    gibbs = GibbsSampler(chains=CHAINS, sweeps=SWEEPS)
    child = neal.SimulatedAnnealingSampler()
    annealer = DimodSampler(child, num_sweeps=SWEEPS)
    left = torch.rand(CHAINS, 128)

    def matmul():
        for _ in range(2 * SWEEPS):
            left @ machine.W.detach()

    print(f"{SWEEPS} sweeps of {CHAINS} chains, 128 x 128 RBM, one thread")
    compare(
        {
            "matrix products alone": matmul,
            "GibbsSampler": lambda: gibbs.sample(machine, CHAINS),
            "neal at beta (1, 1)": lambda: annealer.sample(machine, CHAINS),
        }
    )
    small = RBM(64, 64)
    prior = GibbsSampler(chains=128, sweeps=10)
    print("negative phase: 10 sweeps of 128 chains, 64 x 64 RBM")
    compare({"GibbsSampler": lambda: prior.sample(small, 128)}, repeats=50)


if __name__ == "__main__":
    main()
