import logging
from types import SimpleNamespace

import pytest

from dnas_mmseg.runs.durations import duration
from dnas_mmseg.search.time import ProgressHook, StageTime, stage_time

TIME = StageTime(plain=1.0, searching=3.0, iterations=10, epochs=4, arch_start=2)


def test_stage_time_of_remaining_epochs():
    assert [TIME.seconds(done) for done in range(5)] == [80, 70, 60, 30, 0]
    assert TIME._replace(arch_start=9).seconds() == 40
    assert TIME._replace(arch_start=0).seconds(1) == 90


def test_duration():
    assert duration(3725.4) == '1:02:05'
    assert duration(0.2) == '0:00:00'
    assert duration(90_000) == '1 day, 1:00:00'


def test_remaining_time_uses_the_measured_pace(monkeypatch, caplog):
    """Resumed after the first epoch, twice as slow as estimated; later stages take 100 s."""
    hook = ProgressHook('path', TIME, later=100)
    runner = SimpleNamespace(epoch=1, logger=logging.getLogger('test'))
    now = iter((500.0, 520.0, 580.0))
    monkeypatch.setattr('dnas_mmseg.search.time.monotonic', lambda: next(now))
    hook.before_train(runner)
    with caplog.at_level(logging.INFO):
        for runner.epoch in (1, 2):
            hook.after_train_epoch(runner)
    # 20 s for an estimated 10 s, then 80 s for 40 s.
    assert caplog.messages == [
        'stage path, epoch 2 of 4: 0:02:00 left in this stage, 0:05:20 in all stages',
        'stage path, epoch 3 of 4: 0:01:00 left in this stage, 0:04:20 in all stages',
    ]


@pytest.mark.parametrize('level', ['path', 'cell'])
def test_stage_time(plan, level):
    """Half A has 6 tiles in batches of two; later stages start from a random network."""
    time = stage_time(plan, level)
    assert (time.iterations, time.epochs, time.arch_start) == (3, 1, 0)
    assert 0 < time.plain < time.searching
