r"""Maximum likelihood for a machine alone: two phases, one gradient.

With ``log p(v) = -F(v) - log Z``, the gradient of the mean log-likelihood is

    -mean over data of dF/dtheta  +  mean over the machine of dF/dtheta

(Ackley, Hinton and Sejnowski 1985). ``F`` is the free energy of an `RBM`,
whose right layer is hidden and summed out, and the energy itself of a machine
whose units are all visible. The first mean is the positive phase. The second
one, the negative phase, is what learning rules differ in; here the sampler
decides:

========================================  ===================================
``ExactSampler()``                        the exact gradient, by enumeration
``ContrastiveDivergence(k)``              CD-k (Hinton 2002), biased
``GibbsSampler()``                        persistent chains, PCD (Tieleman
                                          2008)
``TemperingSampler()``                    PCD with tempered chains
                                          (Desjardins et al. 2010)
any other sampler                         the mean over its draws
========================================  ===================================
"""

import copy
import math
import numbers

import dimod
import torch
from torch import nn
from tqdm.auto import tqdm

from qbmvae_mini.arrays import dense
from qbmvae_mini.averaging import follow
from qbmvae_mini.boltzmann import RBM, check_classical
from qbmvae_mini.checks import check_seed, check_whole
from qbmvae_mini.partition import enumerable, exact_log_z, log_z_bracket
from qbmvae_mini.samplers import sweep


class ContrastiveDivergence:
    """The negative phase of CD-k: k sweeps that start at the data.

    Its draws do not follow the law of the machine, and the mean of the
    gradient is not that of the likelihood; the larger k, the nearer.

    Parameters
    ----------
    k : int
        Sweeps from the data.
    seed : int
        Seeds the random numbers of the sweeps.

    References
    ----------
    Hinton 2002, Training products of experts by minimizing contrastive
    divergence.
    """

    def __init__(self, k=1, seed=0):
        self.k = check_whole("k", k, 1)
        seed = check_seed(seed)
        self._generator = torch.Generator().manual_seed(seed)

    def sample_from(self, machine, data):
        """One state for each row of `data`, shape (len(data), n_units).

        The hidden units of an RBM need no start, because a sweep draws them
        first.
        """
        check_classical(machine, "ContrastiveDivergence")
        data = checked_bits(machine, data)
        z = data.new_zeros(len(data), machine.n_units)
        z[:, : data.shape[1]] = data
        if self._generator.device != z.device:
            seed = self._generator.initial_seed()
            self._generator = torch.Generator(z.device).manual_seed(seed)
        return sweep(machine, z, sweeps=self.k, generator=self._generator)


def visible_energy(machine, v):
    """What a visible state costs, (..., n_visible) -> (...), in nats.

    The free energy of an RBM's left layer, else the energy. Its mean over
    draws of ``v`` alone has the gradient of the energy's mean, with the
    hidden units' share of the noise averaged away.
    """
    if isinstance(machine, RBM):
        return machine.free_energy(v)
    return machine.energy(v)


def n_visible(machine):
    """Units that see data: the left layer of an RBM, else all."""
    return machine.n_left if isinstance(machine, RBM) else machine.n_units


def positive_phase(machine, data):
    """Mean cost of the data, in nats: data should become cheap."""
    return visible_energy(machine, data).mean()


def negative_phase(machine, sampler, data, draws):
    """A number whose gradient is the mean over the machine's own law.

    It is minus the gradient of log Z; the value of the number means nothing.

    Parameters
    ----------
    machine : Machine or QuantumBoltzmannMachine
    sampler
        See the table above.
    data : Tensor, shape (batch, n_visible)
        Where contrastive divergence starts; others do not look at it.
    draws : int
        States to ask the sampler for, where it draws.

    Returns
    -------
    Tensor, shape ()
    """
    if isinstance(sampler, ContrastiveDivergence):
        z = sampler.sample_from(machine, data)
    elif hasattr(sampler, "mean_energy"):
        return sampler.mean_energy(machine)
    else:
        z = sampler.sample(machine, draws)
    return visible_energy(machine, z[:, : n_visible(machine)]).mean()


@torch.enable_grad()
def fit(
    machine,
    data,
    sampler,
    *,
    epochs=100,
    batch_size=32,
    lr=0.1,
    draws=None,
    average=True,
    monitor=None,
    every=10,
    seed=0,
    progress=True,
):
    """Raise the likelihood of `data` by stochastic gradient ascent.

    Plain SGD at a constant rate never comes to rest. So the weights that
    the machine ends with, and those that `monitor` sees, are an average over
    about the last tenth of the steps (Polyak and Juditsky 1992; weights as in
    an exponential average whose memory grows with the steps).

    Parameters
    ----------
    machine : RBM, BoltzmannMachine or QuantumBoltzmannMachine
        Trained in place. A quantum machine's diagonal is trained on the
        Golden-Thompson bound, which cannot learn its field: gamma stays.
    data : array, shape (n, n_visible)
        Bits: as wide as the left layer of an RBM, else as the machine.
    sampler
        Decides the negative phase; see the table above.
    epochs, batch_size : int
        Passes over the data, and rows a step.
    lr : float
        Learning rate, in weights per gradient in nats.
    draws : int, optional
        States a step from a sampler that draws: without it, as many as it has
        chains, or `batch_size` where it has none.
    average : bool
        Average the weights as above; otherwise they are those of the last
        step.
    monitor : callable, optional
        ``monitor(machine)`` returns a dict that joins the history. It gets a
        copy, so that chains which belong to the machine stay untouched.
    every : int
        Epochs between two calls of `monitor`; the first is before training,
        the last after it.
    seed : int
        Seeds the order of the data. Torch's global generator is not used.
    progress : bool
        Show a tqdm bar.

    Returns
    -------
    list of dict
        One entry a call of `monitor`: ``epoch``, the number of epochs done,
        and what `monitor` returned. Empty without a monitor.

    Raises
    ------
    TypeError
        If `machine` or `sampler` is none, they do not fit each other, the
        data are no array, or `monitor` returns no dict.
    ValueError
        If the data are no bits or of another width, a setting is out of
        range, all weights are frozen, or they stop being finite.
    """
    epochs = check_whole("epochs", epochs, 0)
    batch_size = check_whole("batch_size", batch_size, 1)
    every = check_whole("every", every, 1)
    seed = check_seed(seed)
    if not (isinstance(lr, numbers.Real) and 0 < lr < math.inf):
        raise ValueError(
            f"lr, the learning rate, is a number above 0, not {lr!r}"
        )
    _check_sampler(sampler)
    if draws is None:
        draws = getattr(sampler, "chains", batch_size)
    draws = check_whole("draws", draws, 1)
    data = checked_bits(machine, data)
    if not any(weight.requires_grad for weight in machine.parameters()):
        raise ValueError(
            "all weights of the machine are frozen; call "
            "machine.requires_grad_() to train it"
        )
    shuffle = torch.Generator().manual_seed(seed)
    mean = copy.deepcopy(machine)  # the average of the weights so far
    history, steps = _seen(monitor, mean, 0), 0
    for epoch in tqdm(range(1, epochs + 1), disable=not progress):
        order = torch.randperm(len(data), generator=shuffle).to(data.device)
        for rows in order.split(batch_size):
            batch = data[rows]
            positive = positive_phase(machine, batch)
            negative = negative_phase(machine, sampler, batch, draws)
            machine.zero_grad()
            (positive - negative).backward()
            _step(machine, lr)
            steps += 1
            follow(
                mean.parameters(),
                machine.parameters(),
                steps if average else 0,
            )
        _check_finite(machine, epoch)
        if epoch % every == 0 or epoch == epochs:
            history += _seen(monitor, mean, epoch)
    machine.load_state_dict(mean.state_dict())
    return history


def log_likelihood(machine, data, log_z=None):
    """Log p of each row of `data` under a classical machine, in nats.

    Parameters
    ----------
    machine : Machine
    data : array, shape (n, n_visible)
    log_z : float, optional
        Without it, exact where the machine can be listed, and otherwise the
        upper end of `log_z_bracket`, so that an error of the estimate counts
        against the machine.

    Returns
    -------
    Tensor, shape (n,)

    Raises
    ------
    TypeError, ValueError
        If the machine is not classical, the data are no bits of it, or
        `log_z` is no finite number.
    """
    check_classical(machine, "log_likelihood")
    known = isinstance(log_z, numbers.Real) and math.isfinite(log_z)
    if log_z is not None and not known:
        raise ValueError(
            f"log_z is a finite number, not {log_z!r}; of an Estimate give "
            "the value, of a Bracket the upper end"
        )
    data = checked_bits(machine, data)
    if log_z is None and enumerable(machine):
        log_z = exact_log_z(machine)
    elif log_z is None:
        log_z = log_z_bracket(machine).upper
    with torch.no_grad():
        return -visible_energy(machine, data) - log_z


def checked_bits(machine, data):
    """`data` as a tensor like the weights of `machine`, or a sentence."""
    if not (isinstance(machine, nn.Module) and hasattr(machine, "n_units")):
        raise TypeError(
            "machine is an RBM, a BoltzmannMachine or a "
            f"QuantumBoltzmannMachine, not {machine!r}"
        )
    like = next(machine.parameters())
    data = dense("data", data)
    width = n_visible(machine)
    if data.ndim != 2 or data.shape[1] != width:
        raise ValueError(
            f"data has a row an example and a column a visible unit, so its "
            f"shape is (n, {width}), not {tuple(data.shape)}"
        )
    if not len(data):
        raise ValueError("data has no rows; give at least one example")
    wrong = (data != 0) & (data != 1)
    if wrong.any():
        row, column = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"data holds bits, 0 or 1, but row {row}, column {column} is "
            f"{data[row, column].item():g}; set a threshold first"
        )
    return data.to(like)


@torch.no_grad()
def _step(machine, lr):
    """One step downhill, of the weights that have a gradient."""
    for weight in machine.parameters():
        if weight.grad is not None:  # the field of a quantum machine has none
            weight.sub_(weight.grad, alpha=lr)


def _check_sampler(sampler):
    if isinstance(sampler, dimod.Sampler):
        name = type(sampler).__name__
        raise TypeError(
            f"{name} is a dimod sampler; hand it over as DimodSampler({name}())"
        )
    draws = hasattr(sampler, "sample") or hasattr(sampler, "sample_from")
    if isinstance(sampler, type) or not draws:
        raise TypeError(
            "sampler has a method sample(machine, n), as GibbsSampler(), or "
            f"is ContrastiveDivergence(); {sampler!r} is neither"
        )


def _seen(monitor, machine, epoch):
    """What `monitor` has to say, as an entry of the history."""
    if monitor is None:
        return []
    said = monitor(machine)
    if not isinstance(said, dict):
        raise TypeError(
            "monitor returns a dict of what it measured, not "
            f"{type(said).__name__}"
        )
    return [{"epoch": epoch, **said}]


def _check_finite(machine, epoch):
    for name, value in machine.named_parameters():
        if not torch.isfinite(value).all():
            raise ValueError(
                f"training has diverged: after epoch {epoch} the machine's "
                f"{name} holds NaN or infinite values; make the machine anew "
                "and try a smaller learning rate (lr)"
            )
