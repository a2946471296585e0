import math

import pytest
import torch
from mmseg.registry import PARAM_SCHEDULERS


def rates(steps, lr=0.025, **kwargs):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='ClampedCosineLR', optimizer=optimizer, min_lr=1e-3, by_epoch=False, **kwargs)
    )
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    return values


def test_cosine_to_zero_until_the_lower_bound():
    values = rates(1000, T_max=1000)
    cosine = [0.0125 * (1 + math.cos(math.pi * i / 1000)) for i in range(1000)]
    assert values == pytest.approx([max(c, 1e-3) for c in cosine], rel=1e-9)
    assert next(i for i, v in enumerate(values) if v == 1e-3) == 872  # 87 % of the schedule


def test_lower_bound_applies_after_the_end_and_never_exceeds_the_base():
    assert rates(30, T_max=20)[-1] == 1e-3
    assert set(rates(10, lr=1e-4, T_max=10)) == {1e-4}


def test_resuming_restores_the_learning_rate():
    def make():
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.025)
        return optimizer, PARAM_SCHEDULERS.build(
            dict(type='ClampedCosineLR', optimizer=optimizer, min_lr=1e-3, by_epoch=False, T_max=50)
        )

    optimizer, scheduler = make()
    for _ in range(20):
        optimizer.step()
        scheduler.step()
    other_optimizer, other = make()
    other.load_state_dict(scheduler.state_dict())
    other_optimizer.load_state_dict(optimizer.state_dict())
    for o, s in ((optimizer, scheduler), (other_optimizer, other)):
        o.step()
        s.step()
    assert optimizer.param_groups[0]['lr'] == other_optimizer.param_groups[0]['lr']
