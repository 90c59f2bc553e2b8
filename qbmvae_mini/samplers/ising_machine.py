r"""A simulated coherent Ising machine: an optimiser, not a sampler of exp(-E).

One pulse of light a spin runs round a fibre ring through an amplifier. Each
round trip its amplitude is measured, electronics work out the field that the
other pulses make, and light in proportion to it is injected back
(measurement feedback, McMahon 2016). Above threshold a pulse has one of two
phases: the sign of its amplitude is the spin. Pulses of unequal amplitude
weigh the couplings wrongly; one error variable a pulse scales its injection
until all amplitudes are equal (Leleu 2019).
"""

import math

import dimod
import numpy as np

from qbmvae_mini.checks import check_real, check_seed, check_whole

#: A modulator has a finite range: the error variable can raise or lower the
#: light injected into a pulse by at most this factor.
MAX_GAIN = 32.0


class CoherentIsingMachine(dimod.Sampler):
    r"""A measurement-feedback coherent Ising machine, simulated.

    The model is written with spins :math:`s_i = \pm 1`, and the linear terms
    become couplings to one auxiliary spin :math:`s_0`, so :math:`n` variables
    need :math:`n + 1` pulses and
    :math:`E = -\sum_{i<j} J_{ij} s_i s_j` up to a constant. In one round trip,
    with independent standard normal :math:`\eta_i`, pulse :math:`i` is
    measured and updated by

    .. math::

        m_i &= x_i + \sigma \sqrt{a}\, \eta_i \\
        x_i &\leftarrow \frac{x_i + \Delta t \left[(p - 1) x_i
            + \epsilon e_i \sum_j J_{ij} m_j / J_0\right]}{1 + \Delta t\, x_i^2}
        \\
        \ln e_i &\leftarrow \ln e_i
            - \Delta t\, \beta \left(m_i^2 - \sigma^2 a - a\right)

    To first order in :math:`\Delta t` and :math:`\sigma` these are the
    equations of Leleu 2019 with the noise of the measurement, in Itô's sense:

    .. math::

        dx_i &= \Big[(p - 1) x_i - x_i^3
            + \epsilon e_i \sum_j \tfrac{J_{ij}}{J_0} x_j\Big] dt
            + \epsilon e_i \sigma \sqrt{a \Delta t}
              \sum_j \tfrac{J_{ij}}{J_0} dW_j \\
        d \ln e_i &= -\beta (x_i^2 - a)\, dt
            - 2 \beta \sigma \sqrt{a \Delta t}\, x_i\, dW_i

    The saturation :math:`x_i^3` enters through the denominator, so that no
    time step makes the amplitudes explode.

    =================  ===================================================
    :math:`x_i`        in-phase amplitude; 1 is the amplitude at which the
                       gain lost to saturation equals the linear loss
    :math:`t`          time; 1 is the decay time of an amplitude without
                       pump, and one round trip takes :math:`\Delta t`
    :math:`p`          pump, 1 at the threshold of a lone pulse; rises in a
                       straight line from 0 to `pump` during the run
    :math:`J_0`        root mean square over the coupled pulses of
                       :math:`(\sum_j J_{ij}^2)^{1/2}`, in nats like `J`
    :math:`e_i`        error variable, between 1/32 and 32, at first 1
    :math:`W_i`        one Wiener process a pulse
    =================  ===================================================

    :math:`\Delta t, p, \epsilon, \beta, a, \sigma` are the arguments
    `time_step`, `pump`, `feedback`, `correction`, `target` and `noise` of
    `sample`; all but the time step are pure numbers.

    Notes
    -----
    This is a driven, dissipative dynamical system that optimises. Its law is
    not Boltzmann: neither the lowest state of a run nor the last one follows
    exp(-beta E) / Z for a beta between 0 and infinity. Since the couplings
    are divided by :math:`J_0`, twice the energy gives the very same draws,
    while the Boltzmann law would change.
    The noise can be tuned until an effective beta is 1, and the law is still
    another one; part of that noise is plain misreading, as a pulse at the
    target amplitude is read with the wrong sign with probability
    :math:`\Phi(-1 / \sigma)`.

    Attributes
    ----------
    parameters, properties : dict
        As dimod asks for: the keywords of `sample` and what they depend on.

    References
    ----------
    McMahon et al. 2016, A fully programmable 100-spin coherent Ising machine
    with all-to-all connections. Leleu et al. 2019, Destabilization of local
    minima in analog spin systems by correction of amplitude heterogeneity.
    Leleu et al. 2021, Scaling advantage of chaotic amplitude control for
    high-performance combinatorial optimization.
    """

    parameters = None  # dimod.Sampler asks for both names in the class
    properties = None

    def __init__(self):
        self.properties = {"readouts": ("best", "last")}
        self.parameters = {
            "num_reads": [],
            "round_trips": [],
            "time_step": [],
            "pump": [],
            "feedback": [],
            "correction": [],
            "target": [],
            "noise": [],
            "precision": [],
            "readout": ["readouts"],
            "seed": [],
        }

    def sample(
        self,
        bqm,
        *,
        num_reads=1,
        round_trips=500,
        time_step=0.4,
        pump=0.7,
        feedback=0.4,
        correction=0.5,
        target=0.4,
        noise=0.2,
        precision=None,
        readout="best",
        seed=None,
    ):
        r"""Run the machine `num_reads` times, each from noise.

        Parameters
        ----------
        bqm : dimod.BinaryQuadraticModel
            Of spins or bits, with any labels.
        num_reads : int
            Runs, simulated side by side.
        round_trips : int
            Length of a run.
        time_step : float
            Decay times of an amplitude that one round trip takes.
        pump : float
            Pump at the end of the run; 1 is the threshold of a lone pulse.
        feedback : float
            Strength of the injected light.
        correction : float
            Rate at which the error variables move; 0 is a machine without
            amplitude correction.
        target : float
            Squared amplitude that the correction aims at.
        noise : float
            Standard deviation of one measurement of one pulse, over the
            target amplitude. Shot noise alone gives 1 / (2 sqrt(N)) where N
            photons of a pulse at the target reach the detector: 0.2 is about 6
            photons. Pulses start with the same spread.
        precision : int, optional
            Bits of a coupling, its sign among them; see `rounded`. Without
            it the couplings are not rounded.
        readout : {"best", "last"}
            The signs of the lowest energy measured in any round trip, as
            electronics that see them all would report, or those of the last
            round trip.
        seed : int, optional
            Seeds the noise.

        Returns
        -------
        dimod.SampleSet
            In the model's own kind of variables and with its own energies,
            also where the machine held rounded couplings.

        Raises
        ------
        TypeError
            If `bqm` is no model.
        ValueError
            For NaN or infinite weights, or an argument out of range.
        """
        num_reads = check_whole("num_reads", num_reads, 1)
        round_trips = check_whole("round_trips", round_trips, 1)
        if seed is not None:
            seed = check_seed(seed)
        if readout not in self.properties["readouts"]:
            raise ValueError(f'readout is "best" or "last", not {readout!r}')
        for name, value in {
            "time_step": time_step,
            "feedback": feedback,
            "target": target,
            "noise": noise,
        }.items():
            check_real(name, value, above=0)
        for name, value in {"pump": pump, "correction": correction}.items():
            check_real(name, value, least=0)

        held = _as_spins(bqm) if precision is None else rounded(bqm, precision)
        J = _couplings(held)
        trips = _round_trips(
            J,
            num_reads,
            np.linspace(0, pump, round_trips),
            np.random.default_rng(seed),
            time_step=time_step,
            feedback=feedback,
            correction=correction,
            target=target,
            noise=noise,
        )
        spins = _lowest(J, trips) if readout == "best" else _last(trips)
        # The auxiliary spin stands for +1: count the others against it.
        states = (spins[1:] * spins[0]).T.astype(np.int8)
        if bqm.vartype is dimod.BINARY:
            states = (states + 1) // 2
        labelled = (states, list(held.variables))
        return dimod.SampleSet.from_samples_bqm(labelled, bqm)


def rounded(bqm, precision):
    """The spin model that a machine of finite precision holds.

    Fields and couplings become whole multiples of one step, of which the
    largest of them in size takes 2^(precision - 1) - 1: with 8 bits, 127.

    Parameters
    ----------
    bqm : dimod.BinaryQuadraticModel
    precision : int
        Bits, at least 2, the sign among them.

    Returns
    -------
    dimod.BinaryQuadraticModel
        Of spins; the offset is not rounded.
    """
    precision = check_whole("precision", precision, 2)
    spin = _as_spins(bqm)
    order = list(spin.variables)
    field, (row, column, pair), offset = spin.to_numpy_vectors(order)
    largest = max(np.abs(field).max(initial=0), np.abs(pair).max(initial=0))
    step = largest / (2 ** (precision - 1) - 1) or 1.0
    return dimod.BinaryQuadraticModel.from_numpy_vectors(
        np.rint(field / step) * step,
        (row, column, np.rint(pair / step) * step),
        offset,
        dimod.SPIN,
        variable_order=order,
    )


def _as_spins(bqm):
    """A copy over spins in float64, or a sentence if a weight is no number."""
    if not isinstance(bqm, dimod.BinaryQuadraticModel):
        raise TypeError(
            f"bqm is a dimod.BinaryQuadraticModel, not {type(bqm).__name__}"
        )
    spin = dimod.BinaryQuadraticModel(bqm, dtype=np.float64)
    spin.change_vartype(dimod.SPIN)
    field, (_, _, pair), offset = spin.to_numpy_vectors()
    if not all(np.isfinite(w).all() for w in (field, pair, offset)):
        raise ValueError("the model holds NaN or infinite weights")
    return spin


def _couplings(spin):
    """J / J_0, the fields in row and column 0, shape (n + 1, n + 1)."""
    order = list(spin.variables)
    field, (row, column, pair), _ = spin.to_numpy_vectors(order)
    J = np.zeros((len(order) + 1, len(order) + 1))
    J[0, 1:] = -field
    J[row + 1, column + 1] = -pair
    J += J.T
    coupled = J.any(axis=1)
    if not coupled.any():
        return J
    J /= np.abs(J).max()  # squares of tiny weights would be lost
    return J / np.sqrt((J[coupled] ** 2).sum(axis=1).mean())


def _round_trips(
    J, reads, pumps, rng, *, time_step, feedback, correction, target, noise
):
    """Yield the measured spins of each round trip, shape (n + 1, reads)."""
    sigma = noise * math.sqrt(target)
    limit = math.log(MAX_GAIN)
    x = sigma * rng.standard_normal((len(J), reads))
    log_error = np.zeros_like(x)  # of the error variables e
    for pump in pumps:
        measured = x + sigma * rng.standard_normal(x.shape)
        yield np.where(measured > 0, 1.0, -1.0)
        drive = (pump - 1) * x + feedback * np.exp(log_error) * (J @ measured)
        x = (x + time_step * drive) / (1 + time_step * x**2)
        excess = measured**2 - sigma**2 - target
        log_error -= time_step * correction * excess
        np.clip(log_error, -limit, limit, out=log_error)


def _last(trips):
    """The spins of the last round trip."""
    for spins in trips:
        last = spins
    return last


def _lowest(J, trips):
    """The spins of lowest energy in each run, the first of equal ones."""
    lowest, best = np.inf, 0.0
    for spins in trips:
        energy = -(spins * (J @ spins)).sum(axis=0)  # (reads,)
        better = energy < lowest
        lowest = np.where(better, energy, lowest)
        best = np.where(better, spins, best)
    return best
