"""Exported models behind the segmentor interface."""

import copy

import pytest
import torch
from mmseg.structures import SegDataSample

from dnas_mmseg.mapping.engine_segmentor import EngineSegmentor
from dnas_mmseg.mapping.exported import ExportedModel


class Halves(ExportedModel):
    """Predict the second class on the right half."""

    def run(self, samples):
        logits = torch.zeros(len(samples), 2, self.window, self.window)
        logits[:, 1] = -1
        logits[:, 1, :, self.window // 2 :] = 1
        return logits.numpy() if self.threshold is None else logits[:, 1:].numpy()


@pytest.mark.parametrize('threshold', [None, 0.5])
def test_predictions_have_the_size_of_the_image(threshold):
    model = EngineSegmentor(Halves({'classes': ['a', 'b'], 'threshold': threshold}, 4, 8))
    assert model.dataset_meta == {'classes': ['a', 'b']}
    samples = [SegDataSample(metainfo=dict(ori_shape=shape)) for shape in ((8, 8), (16, 16))]
    done = model.val_step({'inputs': [torch.zeros(4, 8, 8)] * 2, 'data_samples': samples})
    for sample, side in zip(done, (8, 16), strict=True):
        predicted = sample.pred_sem_seg.data
        assert predicted.shape == (1, side, side)
        assert (predicted[..., : side // 2] == 0).all()
        assert (predicted[..., side // 2 :] == 1).all()
    with pytest.raises(NotImplementedError):
        model(torch.zeros(1, 4, 8, 8))


def test_deepcopy_and_repr_support_the_runner():
    model = EngineSegmentor(Halves({}, 4, 8))
    assert copy.deepcopy(model) is model
    assert repr(model) == "EngineSegmentor('Halves')"
