"""Settings that must not change when a training run resumes."""

import json

from dnas_mmseg.engine.training_record import describe_differences, training_record


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
