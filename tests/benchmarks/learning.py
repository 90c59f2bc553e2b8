"""Held-out likelihood of digits: ours and scikit-learn's `BernoulliRBM`.

Both have 64 hidden units and see the same digits of the same five splits
(70% training, 10% validation, 20% test). Both learn at the best rate of one
grid, chosen on the validation part of the first split. The test part is
scored once, by AIS, at the upper end of the bracket of log Z.

scikit-learn gets more CPU time than ours, and is helped in three ways: it may
be stopped early, at the best of five checkpoints on validation; it may have
100 chains in place of its 10; and its batches may be made equal. Its own
``fit`` cuts batches of ``batch_size`` rows, so the last one is shorter than
its chains are many; as both phases are divided by the number of rows, that
step weighs the negative phase too much. About eight minutes.
"""

import time

import numpy as np
import torch
from sklearn.neural_network import BernoulliRBM
from timing import cpu_seconds

from qbmvae_mini import RBM, GibbsSampler
from qbmvae_mini.estimates import log_z_bracket
from qbmvae_mini.learning import digits, fit, log_likelihood
from qbmvae_mini.samplers import ContrastiveDivergence, TemperingSampler

RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
SPLITS = 5
HIDDEN = 64
CHECKPOINTS = 5

#: Effort for log Z where checkpoints are compared, not reported.
ROUGH_AIS = {"chains": 250, "temperatures": 400}


def split_digits(split):
    """Training, validation and test bits."""
    bits, _ = digits()
    order = np.random.default_rng(split).permutation(len(bits))
    ends = [int(0.7 * len(bits)), int(0.8 * len(bits))]
    return [bits[rows] for rows in np.split(order, ends)]


def scored(machine, bits, **effort):
    """Mean log-likelihood at the upper end of the bracket, and its width."""
    bracket = log_z_bracket(machine, **({"chains": 500} | effort))
    score = log_likelihood(machine, bits, bracket.upper).mean()
    return float(score), bracket.upper - bracket.lower


def ours(sampler=None, **options):
    """A function that trains ours; yields the machine and its CPU seconds."""

    def train(bits, rate, seed):
        machine = RBM(bits.shape[1], HIDDEN, seed=seed)
        chains = GibbsSampler(chains=128, sweeps=1, seed=seed)
        if sampler is not None:
            chains = sampler(seed)
        settings = {"epochs": 60, "lr": rate, "seed": seed} | options
        seconds = cpu_seconds(
            lambda: fit(machine, bits, chains, progress=False, **settings)
        )
        yield machine, seconds

    return train


def scikit(batch_size, epochs, *, equal=False):
    """The same for `BernoulliRBM`; yields at each checkpoint."""

    def train(bits, rate, seed):
        rbm = BernoulliRBM(
            HIDDEN,
            learning_rate=rate,
            batch_size=batch_size,
            random_state=seed,
        )
        x = bits.double().numpy()
        starts = range(batch_size, len(x), batch_size)
        batches = np.split(x, starts)  # as in its fit
        if equal:
            batches = np.array_split(x, len(batches))
        seconds = 0.0
        for _ in range(CHECKPOINTS):
            start = time.process_time()
            for _ in range(epochs // CHECKPOINTS):
                for batch in batches:
                    rbm.partial_fit(batch)
            seconds += time.process_time() - start
            yield as_machine(rbm), seconds

    return train


@torch.no_grad()
def as_machine(rbm):
    """The weights of a `BernoulliRBM` in one of ours."""
    machine = RBM(rbm.components_.shape[1], HIDDEN)
    machine.a.copy_(torch.from_numpy(rbm.intercept_visible_))
    machine.c.copy_(torch.from_numpy(rbm.intercept_hidden_))
    machine.W.copy_(torch.from_numpy(rbm.components_.T))
    return machine


def best(train, rate, split):
    """The checkpoint that is best on validation.

    Returns
    -------
    tuple
        Validation score, machine, CPU seconds of the whole training.
    """
    training, validation, _ = split_digits(split)
    found = []
    for machine, seconds in train(training, rate, split):
        score, _ = scored(machine, validation, **ROUGH_AIS)
        found.append((score, machine, seconds))
    score, machine, _ = max(found, key=lambda row: row[0])
    return score, machine, found[-1][2]


def compare(models, rates, peer):
    """Print each model's choice of a rate, then its test scores."""
    tested = {}
    for name, train in models.items():
        tried = {}
        if len(rates) > 1:
            tried = {rate: best(train, rate, 0)[0] for rate in rates}
            shown = "  ".join(f"{r:g}: {s:.2f}" for r, s in tried.items())
            print(f"{name}: validation by rate  {shown}")
        chosen = max(tried, key=tried.get, default=rates[0])
        rows = []
        for split in range(SPLITS):
            _, machine, seconds = best(train, chosen, split)
            rows.append([*scored(machine, split_digits(split)[2]), seconds])
        tested[name], width, seconds = np.array(rows).T
        print(
            f"{name}: rate {chosen:g}, test {tested[name].mean():.2f} nats, "
            f"each {np.round(tested[name], 2).tolist()}, bracket up to "
            f"{width.max():.2f} wide, {seconds.mean():.1f} CPU-s",
            flush=True,
        )
    for name, test in tested.items():
        if name != peer:
            gap = tested[peer] - test
            print(
                f"{peer} minus {name}: {gap.mean():+.2f} nats, "
                f"from {gap.min():+.2f} to {gap.max():+.2f}"
            )


def main():
    compare(
        {
            "ours": ours(),
            "ours, weights of the last step": ours(average=False),
            "BernoulliRBM, batches of 10": scikit(10, 100),
            "BernoulliRBM, batches of 100": scikit(100, 400),
            "the same, batches made equal": scikit(100, 400, equal=True),
        },
        RATES,
        peer="ours",
    )
    print("other negative phases, averaged, at one rate")
    compare(
        {
            "ours": ours(),
            "CD-1": ours(lambda seed: ContrastiveDivergence(1, seed)),
            "five sweeps a step": ours(
                lambda seed: GibbsSampler(128, sweeps=5, seed=seed)
            ),
            "tempered chains": ours(
                lambda seed: TemperingSampler(32, 4, 0.5, sweeps=1, seed=seed)
            ),
        },
        [0.3],
        peer="ours",
    )


if __name__ == "__main__":
    main()
