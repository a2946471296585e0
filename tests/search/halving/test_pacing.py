from dataclasses import replace

import torch
from mmengine.config import Config

from dnas_mmseg.search.halving.networks import SpaceCandidates
from dnas_mmseg.search.halving.pacing import measure_pace
from dnas_mmseg.search.halving.split import selection_lists
from dnas_mmseg.search.halving.training import CandidateTrainings

from ...conftest import ROOT


def test_measure_pace(plan, tiny, tmp_path):
    path = str(ROOT / 'configs/pspnet/pspnet_r18-d8_naip.py')
    slow = tmp_path / 'slow.py'
    slow.write_text(f"_base_ = '{path}'\noptim_wrapper = dict(optimizer=dict(lr=1e-4))\n")
    plan = replace(plan, baselines=(path, str(slow)), budget=6)
    lists = selection_lists(Config.fromfile(str(tiny)), 0, tmp_path)
    candidates = SpaceCandidates(plan)
    trainings = CandidateTrainings(plan, candidates.baselines, tmp_path, lists)
    threads = torch.get_num_threads()
    pace = measure_pace(candidates, trainings)
    assert torch.get_num_threads() == threads
    assert pace.baselines.keys() == {'pspnet_r18-d8_naip', 'slow'}
    assert pace.baselines['slow'] == pace.baselines['pspnet_r18-d8_naip']  # timed once
    # Twelve million parameters compared with a few thousand.
    assert pace.baselines['pspnet_r18-d8_naip'] > 2 * pace.seconds(pace.typical) > 0
    macs = [candidates.cost_by(baseline, 'macs') for baseline in candidates.baselines]
    assert macs[0] > 10 * pace.typical
