"""Averaged weights: the mean they claim to be, and nothing lost by a look."""

import pytest
import torch
from torch import nn

from qbmvae_mini.learning import RunningAverage, follow


def values(module):
    return [p.detach().clone() for p in module.parameters()]


def test_average_is_a_weighted_mean_of_the_steps():
    """Each look has the weight of the steps that it stands for."""
    module = nn.Linear(3, 2).double()
    average = RunningAverage(module, longest=10)
    seen, weights = [values(module)], [1.0]
    for step in range(61):
        with torch.no_grad():
            for p in module.parameters():
                p += torch.randn_like(p)
        average.update()
        share = max(1 / (1 + 0.1 * step), 1 / 10)
        weights = [w * (1 - share) for w in weights] + [share]
        seen.append(values(module))
    assert sum(weights) == pytest.approx(1)
    assert weights[0] == 0  # nothing is left of how it began
    looks = [*range(8, 57, 8), 61]
    average.look()
    stand_for = dict.fromkeys(looks, 0.0)
    for step in range(1, 62):
        stand_for[min(k for k in looks if k >= step)] += weights[step]
    for i, found in enumerate(average.weights):
        mean = sum(w * seen[k][i] for k, w in stand_for.items())
        torch.testing.assert_close(found, mean)
    assert average.steps == 61


def test_the_first_step_replaces_what_was_there():
    module = nn.Linear(3, 2)
    average = RunningAverage(module)
    with torch.no_grad():
        module.weight += 1
    average.update()
    average.look()
    assert torch.equal(average.weights[0], module.weight)
    before = [torch.zeros(2)]
    follow(before, [torch.ones(2)], 0)
    assert torch.equal(before[0], torch.ones(2))


def test_a_look_at_the_average_leaves_the_weights_as_they_were():
    module = nn.Linear(3, 2)
    average = RunningAverage(module)
    with torch.no_grad():
        module.weight += 1
    before = values(module)
    with pytest.raises(ZeroDivisionError), average.in_place():
        inside = values(module)
        _ = 1 / 0
    assert all(map(torch.equal, inside, average.weights))
    assert not torch.equal(inside[0], before[0])
    assert all(map(torch.equal, values(module), before))
    average.settle()
    assert torch.equal(module.weight.detach(), average.weights[0])


def test_frozen_weights_are_left_out():
    module = nn.Linear(3, 2)
    module.bias.requires_grad_(False)
    average = RunningAverage(module)
    assert len(average.weights) == 1


def test_the_average_of_a_noisy_walk_lies_nearer_to_its_middle():
    generator = torch.Generator().manual_seed(0)
    live, mean = torch.zeros(1000), torch.zeros(1000)
    for step in range(2000):  # an Ornstein-Uhlenbeck walk about zero
        live += -0.1 * live + torch.randn(1000, generator=generator)
        follow([mean], [live], step, longest=100)
    assert mean.std() < 0.5 * live.std()
