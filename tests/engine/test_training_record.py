"""Settings that must not change when a training run resumes."""

import json

from dnas_mmseg.engine.training_record import describe_differences, training_record


def record(iterations, scheduler, **loop):
    config = dict(param_scheduler=scheduler, train_cfg=dict(max_epochs=10, **loop))
    return training_record(config, iterations=iterations)


def test_another_length_of_an_epoch_would_break_a_schedule_in_iterations():
    """For example another batch size: mmengine restores the end of the schedule in iterations."""
    converted = dict(type='CosineAnnealingLR', T_max=10, convert_to_iter_based=True)
    found = describe_differences(record(30, converted), record(8, converted))
    assert found == 'iterations of an epoch: 30, now 8'
    by_epoch = dict(type='CosineAnnealingLR', T_max=10)
    assert describe_differences(record(30, by_epoch), record(8, by_epoch)) == ''
    assert describe_differences(record(None, converted), record(8, converted)) == ''
    warm_up = dict(type='LinearLR', end=2, convert_to_iter_based=True)
    assert describe_differences(record(30, [warm_up]), record(8, [warm_up])) == ''


def test_the_implementation_of_an_optimizer_may_change():
    """Also against records of versions that stored it."""
    optimizer = dict(type='AdamW', lr=1e-3)
    now = training_record(dict(optim_wrapper=dict(optimizer=dict(optimizer, fused=True))))
    before = json.loads(training_record(dict(optim_wrapper=dict(optimizer=optimizer))))
    assert describe_differences(json.dumps(before), now) == ''
    before['optim_wrapper']['optimizer']['fused'] = False
    assert describe_differences(json.dumps(before), now) == ''
    before['optim_wrapper']['optimizer']['lr'] = 1e-2
    assert describe_differences(json.dumps(before), now) == (
        'optim_wrapper.optimizer.lr: 0.01, now 0.001'
    )
