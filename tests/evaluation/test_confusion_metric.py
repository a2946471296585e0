import numpy as np
import torch
from mmseg.registry import METRICS

from dnas_mmseg.evaluation import compute_scores, confusion_matrix


def sample(name, label, prediction):
    maps = {'gt_sem_seg': label, 'pred_sem_seg': prediction}
    data = {key: dict(data=torch.from_numpy(ids)[None]) for key, ids in maps.items()}
    return dict(img_path=f'images/{name}.tif', **data)


def test_scores_over_all_and_by_scene(rng, monkeypatch):
    logged = []
    monkeypatch.setattr(
        'dnas_mmseg.evaluation.confusion_metric.print_log', lambda text, logger: logged.append(text)
    )
    metric = METRICS.build(dict(type='ConfusionMetric', by_scene=True))
    metric.dataset_meta = dict(classes=('a', 'b', 'c'))
    ids = rng.integers(0, 3, (2, 4, 9, 9))
    names = ('s_x_0_0', 's_x_0_9', 't_0_0', 'nothing')
    metric.process({}, [sample(name, ids[0, i], ids[1, i]) for i, name in enumerate(names)])
    computed = metric.evaluate(4)
    everything = compute_scores(confusion_matrix(*ids.reshape(2, -1), 3))
    for name in ('mIoU', 'OA', 'mAcc', 'FWIoU', 'kappa'):
        assert computed[name] == round(100 * everything[name], 2)
    assert computed['IoU.b'] == round(100 * everything['IoU'][1], 2)
    printed = '\n'.join(logged)
    both = compute_scores(confusion_matrix(*ids[:, :2].reshape(2, -1), 3))
    (line,) = [line for line in printed.splitlines() if ' s_x ' in line]
    np.testing.assert_allclose(
        [float(cell) for cell in line.split('|')[2:5]],
        [100 * both[name] for name in ('mIoU', 'OA', 'mAcc')],
        atol=0.006,
    )
    assert ' nothing ' not in printed
