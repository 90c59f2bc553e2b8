"""Maximum likelihood for a machine alone: two phases, one gradient.

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
any other `Sampler`                       the mean over its draws
========================================  ===================================
"""

import copy

import torch
from tqdm.auto import tqdm

from qbmvae_mini.checks import check_real, check_seed, check_whole
from qbmvae_mini.estimates.partition import (
    enumerable,
    exact_log_z,
    log_z_bracket,
)
from qbmvae_mini.learning.averaging import follow
from qbmvae_mini.machines.base import (
    check_classical,
    check_is_machine,
    checked_bits,
)
from qbmvae_mini.samplers.base import check_is_sampler


def positive_phase(machine, data):
    """Mean cost of the data, in nats: data should become cheap."""
    check_is_machine(machine, "the positive phase")
    return machine.visible_energy(data).mean()


def negative_phase(machine, sampler, data, draws):
    """A number whose gradient is the mean over the machine's own law.

    It is minus the gradient of log Z; the value of the number means nothing.

    Parameters
    ----------
    machine : Machine
    sampler : Sampler
        See the table above.
    data : Tensor, shape (batch, n_visible)
        Where contrastive divergence starts; others do not look at it.
    draws : int
        States to ask the sampler for, where it draws.

    Returns
    -------
    Tensor, shape ()
    """
    check_is_sampler(sampler)
    check_is_machine(machine, "the negative phase")
    return sampler.visible_phase(machine, data, draws)


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
    machine : Machine
        Trained in place. A quantum machine's diagonal is trained on the
        Golden-Thompson bound, which cannot learn its field: gamma stays.
    data : array, shape (n, n_visible)
        Bits: as wide as the left layer of an RBM, else as the machine.
    sampler : Sampler
        Decides the negative phase; see the table above.
    epochs, batch_size : int
        Passes over the data, and rows a step.
    lr : float
        Learning rate, in weights per gradient in nats.
    draws : int, optional
        States a step from a sampler that draws; by default the sampler's own
        number, ``sampler.draws``: one a chain, or 256 where it has none.
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
    check_is_machine(machine, "fit")
    epochs = check_whole("epochs", epochs, 0)
    batch_size = check_whole("batch_size", batch_size, 1)
    every = check_whole("every", every, 1)
    seed = check_seed(seed)
    lr = check_real("lr, the learning rate,", lr, above=0)
    check_is_sampler(sampler)
    if draws is None:
        draws = sampler.draws
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
            follow(
                mean.parameters(),
                machine.parameters(),
                steps if average else 0,
            )
            steps += 1
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
    if log_z is not None:
        log_z = check_real("log_z, of a Bracket its upper end,", log_z)
    data = checked_bits(machine, data)
    if log_z is None and enumerable(machine):
        log_z = exact_log_z(machine)
    elif log_z is None:
        log_z = log_z_bracket(machine).upper
    with torch.no_grad():
        return -machine.visible_energy(data) - log_z


@torch.no_grad()
def _step(machine, lr):
    """One step downhill, of the weights that have a gradient."""
    for weight in machine.parameters():
        if weight.grad is not None:  # the field of a quantum machine has none
            weight.sub_(weight.grad, alpha=lr)


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
