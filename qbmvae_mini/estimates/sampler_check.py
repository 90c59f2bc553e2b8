"""Is a sampler one? The contract and the law, in one call."""

import copy
import json

import torch

from qbmvae_mini.checks import check_whole
from qbmvae_mini.estimates.laws import distance_to_law
from qbmvae_mini.machines.base import check_is_machine
from qbmvae_mini.machines.boltzmann import BoltzmannMachine
from qbmvae_mini.machines.states import all_states
from qbmvae_mini.samplers.base import check_is_sampler

#: The law is listed; of more units no number of draws could fill the list.
MAX_UNITS = 8

#: Standard errors beyond which a law is another one: of some forty numbers
#: that are looked at, one goes beyond by chance once in 40,000 checks.
WORST = 5.0


def check_sampler(sampler, machine=None, *, draws=100_000):
    """Hold a sampler against what `qbmvae_mini.samplers.Sampler` promises.

    Draws are bits of the right shape and precision; settings are fit for
    JSON; a restored, a copied and a reset sampler give the draws that they
    should; the machine is left as it was; and the law is that of the machine,
    by the total variation, by the first and second moments and by the mean
    energy, each against the noise of that many draws.

    The sampler itself is not touched: all is asked of a copy.

    Parameters
    ----------
    sampler : Sampler
    machine : Machine, optional
        Of at most 8 units; without it, 6 classical units, all coupled, with
        weights of about 0.8 nats.
    draws : int
        Draws for the law, taken as independent. With 100,000 of them a
        temperature that is off by a tenth is seen.

    Raises
    ------
    TypeError
        If it is no sampler, or the machine none.
    ValueError
        For a machine of more than 8 units.
    AssertionError
        If a promise is not kept; the sentence says which one.
    """
    check_is_sampler(sampler)
    draws = check_whole("draws", draws, 100)
    machine = _some_machine() if machine is None else copy.deepcopy(machine)
    check_is_machine(machine, "check_sampler")
    if machine.n_units > MAX_UNITS:
        raise ValueError(
            f"the law of {machine.n_units} units is too long a list to be "
            f"filled by draws; give a machine of at most {MAX_UNITS}"
        )
    sampler = _copied(sampler)
    sampler.reset()
    _check_settings(sampler)
    _check_draws(sampler, machine)
    _check_memory(sampler, machine)
    _check_copy(sampler, machine)
    _check_machine_is_left_alone(sampler, machine)
    sampler.reset()
    _check_law(sampler, machine, draws)
    _check_mean_energy(sampler, machine, draws // 4)


def _some_machine():
    """Six units that all pull at each other."""
    machine = BoltzmannMachine(6)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in machine.parameters():
            noise = torch.randn(
                weight.shape, generator=generator, dtype=torch.float32
            )
            weight.copy_(0.8 * noise)
    return machine


def _demand(kept, sentence):
    """By name, for an `assert` statement is left out by ``python -O``."""
    if not kept:
        raise AssertionError(sentence)


def _copied(sampler):
    try:
        return copy.deepcopy(sampler)
    except Exception as error:
        raise AssertionError(
            f"copy.deepcopy of the sampler fails ({error}); give its class a "
            "__deepcopy__ that shares what cannot be copied"
        ) from error


def _check_settings(sampler):
    settings = sampler.settings()
    try:
        again = json.loads(json.dumps(settings))
    except (TypeError, ValueError) as error:
        raise AssertionError(
            f"settings() are not fit for JSON: {error}"
        ) from error
    _demand(
        isinstance(settings, dict) and again == settings,
        f"settings() are a dict of plain numbers, words and lists; JSON gives "
        f"{again} back for {settings}",
    )


def _check_draws(sampler, machine):
    for dtype in (torch.float64, torch.float32):
        twin = copy.deepcopy(machine).to(dtype)
        for n in (1, 7, sampler.draws + 1):
            sampler.reset()  # another machine, other chains
            z = sampler.sample(twin, n)
            _demand(
                isinstance(z, torch.Tensor) and z.shape == (n, twin.n_units),
                f"sample(machine, {n}) returns a tensor of shape "
                f"({n}, {twin.n_units}), not {_described(z)}",
            )
            _demand(
                bool(((z == 0) | (z == 1)).all()),
                "draws hold bits, 0 and 1, and these hold "
                f"{z.unique()[:5].tolist()}; spins s are (s + 1) / 2 as bits",
            )
            _demand(
                z.dtype == dtype and not z.requires_grad,
                f"draws of a machine in {dtype} have its precision and no "
                f"gradient, not {_described(z)}; sample under torch.no_grad() "
                "and return draws.to(machine.offset)",
            )
    sampler.reset()


def _described(z):
    if not isinstance(z, torch.Tensor):
        return f"a {type(z).__name__}"
    gradient = " with a gradient" if z.requires_grad else ""
    return f"{tuple(z.shape)} in {z.dtype}{gradient}"


def _check_memory(sampler, machine):
    """The same draws again, from a state and from the start."""
    sampler.reset()
    first = sampler.draw(machine, 64)
    kept = first.clone()
    state = sampler.state_dict()
    tensors = isinstance(state, dict) and all(
        isinstance(value, torch.Tensor) for value in state.values()
    )
    _demand(tensors, "state_dict() is a flat dict of tensors")
    second = sampler.draw(machine, 64)
    _demand(
        torch.equal(first, kept),
        "a second call changes the draws of the first one: return copies",
    )
    optimum = (first == first[0]).all()  # the law has a word on that below
    _demand(
        bool(optimum) or not torch.equal(first, second),
        "two calls give the same draws; go on with the random numbers",
    )
    sampler.load_state_dict(state)
    _demand(
        torch.equal(sampler.draw(machine, 64), second),
        "after load_state_dict(state_dict()) other draws come than before; "
        "draw from self.generator alone, and keep all else that draws depend "
        "on in the state, as copies",
    )
    _check_foreign_state(sampler, machine, state)
    sampler.reset()
    _demand(
        torch.equal(sampler.draw(machine, 64), first),
        "after reset() other draws come than from the start; forget all "
        "chains and begin at the first seed",
    )


def _check_foreign_state(sampler, machine, state):
    sampler.load_state_dict(state)
    expected = sampler.draw(machine, 64)
    sampler.load_state_dict(state)
    try:
        sampler.load_state_dict({"of nobody": torch.zeros(3)})
    except ValueError:
        pass
    else:
        raise AssertionError(
            "load_state_dict takes the state of another kind of sampler; "
            "refuse it with a ValueError"
        )
    _demand(
        torch.equal(sampler.draw(machine, 64), expected),
        "a state that load_state_dict refused has changed the sampler; check "
        "first, then load",
    )


def _check_copy(sampler, machine):
    """A copy in mid-work goes on like the sampler, and apart from it."""
    twin, its_machine = _copied(sampler), copy.deepcopy(machine)
    expected = twin.draw(its_machine, 64)
    for _ in range(3):
        twin.draw(its_machine, 64)
    _demand(
        torch.equal(sampler.draw(machine, 64), expected),
        "a copy and the sampler do not go on to the same draws apart from "
        "each other; copy all that draws depend on",
    )


def _check_machine_is_left_alone(sampler, machine):
    before = copy.deepcopy(machine.state_dict())
    sampler.draw(machine, 64)
    after = machine.state_dict()
    changed = [k for k in before if not torch.equal(before[k], after[k])]
    changed += [k for k, w in machine.named_parameters() if w.grad is not None]
    _demand(
        not changed,
        f"sampling changes the machine's {', '.join(changed)}; work on a copy",
    )


def _check_law(sampler, machine, draws):
    p, z = machine.law(), sampler.draw(machine, draws).cpu().double()
    expected, sd = _mean_and_sd(p, _moments(machine, all_states(z.shape[1])))
    error = (_moments(machine, z).mean(0) - expected).abs()
    off = error / (sd / draws**0.5).clamp_min(1e-12)
    worst = int(off.argmax())
    _demand(
        float(off[worst]) < WORST,
        "the draws do not follow the machine's law: the mean of "
        f"{_names(machine)[worst]} is {float(off[worst]):.1f} standard errors "
        "off",
    )
    found = distance_to_law(p, z)
    beyond = found.floor + WORST * found.floor_sd
    _demand(
        found.total_variation < beyond,
        "the draws do not follow the machine's law: their total variation is "
        f"{found.total_variation:.4f}, and that of {draws} honest draws "
        f"{found.floor:.4f} +- {found.floor_sd:.4f}",
    )


@torch.no_grad()
def _moments(machine, z):
    """Units, pairs and the energy of each state, (n, moments)."""
    i, j = torch.triu_indices(machine.n_units, machine.n_units, 1)
    energy = machine.energy(z).cpu().double()
    return torch.cat([z, z[:, i] * z[:, j], energy[:, None]], 1)


def _names(machine):
    units = range(machine.n_units)
    pairs = [
        f"units {i} and {j} together" for i in units for j in units[i + 1 :]
    ]
    return [*(f"unit {i}" for i in units), *pairs, "the energy"]


def _mean_and_sd(p, values):
    """Of numbers of each state, (2^n, k), under the law, (k,) each."""
    mean = p @ values
    return mean, (p @ (values - mean) ** 2).sqrt()


def _check_mean_energy(sampler, machine, draws):
    """Its value, and its gradient: the negative phase."""
    p, states = machine.law(), all_states(machine.n_units)
    expected = machine.energy(states)
    mean, sd = _mean_and_sd(p, expected.detach().cpu().double()[:, None])
    found = sampler.mean_energy(machine, draws)
    off = abs(float(found.detach()) - float(mean)) / (float(sd) / draws**0.5)
    _demand(
        found.shape == () and off < WORST,
        f"mean_energy is a scalar near {float(mean):.4f}, not "
        f"{found.detach().tolist()}",
    )
    weights = [w for w in machine.parameters() if w.requires_grad]
    slopes = [
        torch.autograd.grad(mean, weights, allow_unused=True)
        for mean in (found, p.to(expected) @ expected)
    ]
    gap, size = 0.0, 0.0
    for one, other in zip(*slopes, strict=True):
        if other is not None:
            one = torch.zeros_like(other) if one is None else one
            gap += float(((one - other) ** 2).sum())
            size += float((other**2).sum())
    _demand(
        gap**0.5 < WORST * (size / draws) ** 0.5 + 0.02 * size**0.5,
        "the gradient of mean_energy is not the mean gradient of E; let the "
        "draws be constants, and return machine.mean_energy(draws)",
    )
