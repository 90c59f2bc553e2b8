"""One word for what draws: a simulation, a recording, or a device."""

from qbmvae_mini.hardware.annealer import Annealer
from qbmvae_mini.hardware.embedding import embed
from qbmvae_mini.hardware.errors import (
    NOT_INSTALLED,
    DeviceError,
    device_error,
)
from qbmvae_mini.hardware.mock import MockAnnealer
from qbmvae_mini.hardware.solve import IsingSolver
from qbmvae_mini.hardware.tape import Replay, Tape
from qbmvae_mini.samplers import DimodSampler, ExactSampler, GibbsSampler

#: Seconds that a connection may take, and tries of it.
PATIENCE = {"request_timeout": 2.0, "http_retry_total": 0}


def connect(*, answer_within=120.0, **config):
    """D-Wave's device of your account, as a dimod sampler.

    Parameters
    ----------
    answer_within : float
        Seconds after which a call has failed.
    **config
        As of ``dwave.system.DWaveSampler``: ``solver``, ``endpoint``, ... The
        token is best left in ``DWAVE_API_TOKEN`` or D-Wave's own file; this
        package neither keeps nor prints it.

    Raises
    ------
    DeviceError
        Without a token, with a wrong one, or without a network, in seconds.
    """
    try:
        from dwave.system import DWaveSampler
    except ImportError:
        raise DeviceError(NOT_INSTALLED) from None
    try:
        # First in haste: a network that swallows everything would take a
        # minute. Answers of many reads may take longer than that.
        DWaveSampler(**PATIENCE | config).close()
        return DWaveSampler(**{"polling_timeout": answer_within} | config)
    except ValueError as error:
        if "token not defined" in str(error):
            raise DeviceError(
                "no token was found: put yours into DWAVE_API_TOKEN, or take "
                'another BACKEND, such as "mock"'
            ) from None
        raise device_error(error, "D-Wave's service") from None
    except Exception as error:  # of the client; one sentence of it
        if "Timeout" in type(error).__name__:  # nothing has been asked yet
            error = ConnectionError()
        raise device_error(error, "D-Wave's service") from None


def backend(
    word,
    machine,
    *,
    device=None,
    embedding=None,
    tape=None,
    client=None,
    bits=8,
    gain=None,
    seed=0,
    **options,
):
    """A sampler for `machine`, by one word.

    ============  =======================================================
    ``"exact"``   `ExactSampler`, by enumeration
    ``"gibbs"``   `GibbsSampler`
    ``"neal"``    simulated annealing at beta = 1
    ``"mock"``    an `Annealer` on `device`, by default `MockAnnealer`
    ``"replay"``  an `Annealer` on the answers of `tape`
    ``"dwave"``   the same, by default on `connect`; only with a `Budget`
    ``"solve"``   `client`, any object with ``solve(ising_matrix)``
    ============  =======================================================

    Parameters
    ----------
    word : str
    machine : Machine
        What is embedded, where there is no `embedding`.
    device : dimod.Structured, optional
    embedding : dict, optional
        See `embed`.
    tape : Tape or path, optional
    client, bits, gain
        See `IsingSolver`.
    seed : int
    **options
        Of the sampler.

    Returns
    -------
    Sampler

    Raises
    ------
    ValueError
        For another word, or a word without what it needs.
    """
    if word == "exact":
        return ExactSampler(seed=seed, **options)
    if word == "gibbs":
        return GibbsSampler(seed=seed, **options)
    if word == "neal":
        import neal

        child = neal.SimulatedAnnealingSampler()
        return DimodSampler(child, seed=seed, **options)
    if word == "solve":
        if client is None:
            raise ValueError(
                'BACKEND "solve" wants client=, an object with a method '
                "solve(ising_matrix) that returns spins"
            )
        child = IsingSolver(client, bits=bits, gain=gain)
        return DimodSampler(child, seed=seed, **options)
    if word == "replay":
        if tape is None:
            raise ValueError('BACKEND "replay" wants tape=, a Tape or its file')
        tape = tape if isinstance(tape, Tape) else Tape.load(tape)
        device, embedding = Replay(tape), embedding or tape.embedding
    elif word == "mock":
        device = MockAnnealer(seed=seed) if device is None else device
    elif word == "dwave":
        if options.get("budget") is None:
            raise ValueError(
                'BACKEND "dwave" wants budget=Budget(seconds), for device '
                "time is paid for"
            )
        device = connect() if device is None else device
    else:
        raise ValueError(
            "BACKEND is one of exact, gibbs, neal, mock, replay, dwave and "
            f"solve, not {word!r}"
        )
    if embedding is None:
        embedding = embed(machine, device, seed=seed)
    return Annealer(device, embedding, seed=seed, **options)
