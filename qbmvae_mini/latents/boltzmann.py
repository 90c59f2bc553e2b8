"""A Boltzmann machine as prior: where a sampler enters a VAE."""

import math

import torch

from qbmvae_mini.checks import check_seed, check_whole, kind_of
from qbmvae_mini.estimates.partition import (
    Bracket,
    enumerable,
    exact_log_z,
    log_z_bracket,
)
from qbmvae_mini.latents.base import _seeded
from qbmvae_mini.latents.bits import MultilinearLatent
from qbmvae_mini.machines.base import check_classical
from qbmvae_mini.samplers.base import check_is_sampler

#: Effort of a bracket of log Z, by its name; "rough" leaves tenths of a nat.
EFFORTS = {
    "rough": {"chains": 250, "temperatures": 50},
    "full": {"chains": 1000, "temperatures": 1000},
}

#: Width in nats above which a rough bracket is made anew with twice as many
#: temperatures; a validation has no use for wider ones.
ROUGH_WIDTH = 0.4

#: Seeds what an evaluation draws beside the chains of training.
FORK_SEED = 0


class BoltzmannLatent(MultilinearLatent):
    r"""A Boltzmann machine as prior: the latent of the QBM-VAE.

    .. math:: KL(q\|p) = -H(q) + E(\mu) + \log Z

    The first two terms are exact and carry gradient to the encoder. The
    gradient of log Z is *minus* the mean gradient of E over states drawn by
    the sampler (Ackley et al. 1985): this is the only place where a sampler,
    simulated or quantum, enters training. For an RBM both layers hold
    posterior bits and nothing is summed out, unlike in Rolfe 2016, whose
    posterior is hierarchical.

    Parameters
    ----------
    machine : Machine
    sampler : Sampler
        An `ExactSampler` gives the negative phase without noise.
    relaxation : str or Relaxation
        See `BitLatent`.
    negatives : int, optional
        Draws for the negative phase of one step; by default all chains of
        the sampler, or 256.
    """

    def __init__(
        self,
        machine,
        sampler,
        *,
        relaxation="straight-through",
        negatives=None,
    ):
        self._check_machine(machine)
        check_is_sampler(sampler)
        super().__init__(machine.n_units, relaxation)
        self.machine = machine
        self.sampler = sampler
        if negatives is None:
            negatives = sampler.draws
        self.negatives = check_whole("negatives", negatives, 1)
        # Kept with the weights, so that a resumed run reports the same loss.
        log_z = torch.tensor(math.nan, dtype=torch.float32)
        self.register_buffer("log_z", log_z)
        self._bracket = None  # and the effort and weights it was made with:
        self._effort = self._weights = None

    def prior_energy(self, z):
        """Energy of the machine, (..., n_latent) -> (...)."""
        return self.machine.energy(z)

    def kl(self, params):
        """KL of each row in nats, each with the full log Z, (batch,).

        In ``train()`` the sampler is called once, the *gradient* of log Z is
        right in expectation, and its value is the last estimate. In
        ``eval()`` the sampler is left alone and log Z is estimated anew when
        the weights have changed, at its pessimistic end.
        """
        if not self.training:
            return super().kl(params)
        if self.log_z.isnan():
            self.estimate_log_z("rough")
        without_log_z = -self.entropy(params) + self.energy(params)
        return without_log_z + _moved(self.log_z, -self.negative_phase())

    def log_z_upper(self):
        """The upper end of log Z, estimated anew when the weights changed.

        Its gradient, where one is asked for, is minus the negative phase: by
        the sampler in ``train()``, by a fork of it in ``eval()``.
        """
        weights = list(self.machine.parameters())
        value = weights[0].new_tensor(self.current_log_z().upper)
        learns = any(weight.requires_grad for weight in weights)
        if not (learns and torch.is_grad_enabled()):
            return value
        sampler = self.sampler if self.training else self._fork()
        return _moved(value, -self.negative_phase(sampler))

    def negative_phase(self, sampler=None):
        """Mean energy of states drawn from the machine, a scalar.

        Its gradient is minus the gradient of log Z.

        Parameters
        ----------
        sampler : Sampler, optional
            By default the latent's own, whose chains move on.
        """
        sampler = self.sampler if sampler is None else sampler
        return sampler.mean_energy(self.machine, self.negatives)

    def draw_prior(self, n):
        """`n` draws from the prior by the sampler, (n, n_latent)."""
        return self.sampler.draw(self.machine, n)

    def sample_prior(self, n, seed=None):
        """`n` draws of the prior by the sampler, (n, n_latent).

        With a `seed` by a fork of the sampler: chains go on from where those
        of training stand, which stay there. So one seed gives the same draws
        until the model is trained further.
        """
        if seed is None:
            return super().sample_prior(n)
        n, seed = check_whole("n", n, 1), check_seed(seed)
        with _seeded(seed, self._like):  # for samplers that use torch's
            return self.sampler.fork(seed).draw(self.machine, n)

    def settings(self):
        """Those of the bits, of the machine and of the sampler."""
        return super().settings() | {
            "machine": self.machine.settings(),
            "sampler": {
                "kind": kind_of(self.sampler),
                **self.sampler.settings(),
            },
            "negatives": self.negatives,
        }

    def state(self):
        """The sampler's chains and random state."""
        return self.sampler.state_dict()

    def load_state(self, state):
        """Restore what `state` gave."""
        self.sampler.load_state_dict(state)

    def reset(self):
        """Forget the sampler's chains, and log Z."""
        self.sampler.reset()
        self.log_z.fill_(math.nan)
        self._bracket = None

    def parts(self):
        """The latent, its machine and its sampler."""
        return [*super().parts(), self.sampler]

    def change_couplings(self, change):
        """Put ``change(couplings)`` in their place; chains and log Z go."""
        self.machine.set_couplings(change(self.machine.coupling.detach()))
        self.reset()

    def estimate_log_z(self, effort="full"):
        """Bracket of log Z, kept until the weights or the effort change.

        By enumeration where the machine is small enough, and otherwise by
        AIS with chains of its own: the sampler's are not touched.

        Parameters
        ----------
        effort : {"full", "rough"}
            Chains and temperatures of `qbmvae_mini.estimates.log_z_bracket`;
            see `EFFORTS`. A rough bracket wider than `ROUGH_WIDTH` is made
            anew with twice the temperatures.

        Returns
        -------
        Bracket
        """
        if effort not in EFFORTS:
            names = " or ".join(map(repr, EFFORTS))
            raise ValueError(f"effort is {names}, not {effort!r}")
        if self._bracket_is_of_these_weights() and effort == self._effort:
            return self._bracket
        self._bracket = self._new_bracket(effort)
        self._effort, self._weights = effort, self._flat_weights()
        self.log_z.fill_(self._bracket.value)
        return self._bracket

    def current_log_z(self):
        """The last bracket while it is of these weights, else a new one."""
        if self._bracket_is_of_these_weights():
            return self._bracket
        return self.estimate_log_z()

    def _fork(self):
        """The sampler as it stands, with random numbers of its own."""
        return self.sampler.fork(FORK_SEED)

    def _check_machine(self, machine):
        check_classical(machine, "BoltzmannLatent")

    def _new_bracket(self, effort):
        if enumerable(self.machine):
            value = exact_log_z(self.machine)
            return Bracket(value, value, value)
        if effort == "full":
            return log_z_bracket(self.machine, **EFFORTS[effort])
        # From the chains, which spares long ones: a validation's own.
        states = self.sampler.kept_states()
        few = EFFORTS[effort]
        bracket = log_z_bracket(self.machine, **few, states=states)
        if bracket.upper - bracket.lower < ROUGH_WIDTH:
            return bracket
        more = few | {"temperatures": 2 * few["temperatures"]}
        return log_z_bracket(self.machine, **more, states=states)

    def _bracket_is_of_these_weights(self):
        # By value: fused optimisers do not count up a tensor's version.
        return self._bracket is not None and self._weights.equal(
            self._flat_weights()
        )

    def _flat_weights(self):
        """All that decides log Z: weights, and also the graph and offset."""
        state = self.machine.state_dict().values()
        return torch.cat([tensor.flatten().double().cpu() for tensor in state])


def _moved(value, surrogate):
    """`value`, with the gradient of `surrogate`."""
    return value + (surrogate - surrogate.detach())
