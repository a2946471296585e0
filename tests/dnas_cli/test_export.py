"""Command `dnas export`, and prediction with exported models."""

import json
import subprocess
import sys
import venv

import numpy as np
import pytest
import torch
from mmengine.config import Config

from dnas_cli import export
from dnas_mmseg.datasets.gid5 import BANDS, CLASSES
from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.onnx_model import OnnxModel, export_deepness
from dnas_mmseg.mapping.scene import Tiling
from dnas_mmseg.mapping.scenes import predict_scenes
from dnas_mmseg.mapping.segmentor import load_segmentor
from dnas_mmseg.mapping.windows import SegmentorWindows
from dnas_mmseg.raster import read_raster, write_raster

from ..conftest import ROOT, run
from ..mapping.conftest import (
    OTHERS,
    UNETS,
    assert_same_classes,
    load_untrained,
    relative_error,
)

pytest.importorskip('onnxruntime', reason='the extra onnx is not installed')


def test_exported_models_predict_as_torch(small, tmp_path, rng):
    target = tmp_path / 'model.onnx'
    code, output = run(ROOT / 'tools/export.py', *small, target, '--window', 64)
    assert code == 0, output
    assert '| 1 | nir |' in (tmp_path / 'model.card.md').read_text()
    model, exported = (
        load_segmentor(Config.fromfile(str(small[0])), small[1]),
        OnnxModel(target),
    )
    assert exported.window == 64
    assert exported.dataset_meta['bands'] == list(BANDS)
    for count in (1, 3):
        assert relative_error(model, exported, count, rng, (64, 64)) < 1e-4
    samples = rng.integers(1, 255, (4, 100, 90), np.uint8)
    samples[:, :9] = 0
    write_raster(tmp_path / 's.tif', samples[[3, 0, 1, 2]], nodata=0, names=('blue', *BANDS[:3]))
    (by_torch,) = predict_scenes(
        model, [tmp_path / 's.tif'], tmp_path / 'torch', tiling=Tiling(64, 16)
    )
    code, output = run(
        ROOT / 'tools/predict.py', target, tmp_path / 's.tif', '--overlap', 16,
        '--out-dir', tmp_path / 'out',
    )  # fmt: skip
    assert code == 0, output
    got, expected = read_raster(tmp_path / 'out/s.tif'), read_raster(by_torch)
    assert (got == expected).mean() > 0.999
    # Smaller scenes are padded to the window; larger windows are refused.
    assert exported.logits([torch.zeros(4, 20, 30)]).shape == (1, 5, 20, 30)
    with pytest.raises(UserError, match='set --window 64, or export it again'):
        exported.logits([torch.zeros(4, 65, 64)])


def preprocess_as_deepness(samples: np.ndarray) -> np.ndarray:
    """Preprocess samples (bands, H, W) as the plugin does."""
    tiles = samples.transpose(1, 2, 0)[None]
    return np.float32(tiles * 1.0 / 255.0).transpose(0, 3, 1, 2)


def postprocess_as_deepness(outputs: np.ndarray, threshold: float) -> np.ndarray:
    """Postprocess outputs (1, channels, H, W) to ids (H, W) as the plugin does."""
    values = np.where(outputs < threshold, 0, outputs)[0]
    return (values[0] != 0).astype(int) if len(values) == 1 else values.argmax(0)


def test_deepness_exports_predict_with_the_processing_of_the_plugin(small, tmp_path, rng):
    import onnxruntime

    target = tmp_path / 'qgis.onnx'
    code, output = run(
        ROOT / 'tools/export.py', *small, target, '--window', 64, '--deepness', '--metres', 4
    )
    assert code == 0, output
    session = onnxruntime.InferenceSession(str(target))
    metadata = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    assert metadata['model_type'] == 'Segmentor'
    assert list(metadata['class_names'].items())[:2] == [('0', 'built-up'), ('1', 'farmland')]
    assert (metadata['tile_size'], metadata['tiles_overlap'], metadata['resolution']) == (
        64,
        25,
        400,
    )
    (inputs,), (outputs,) = session.get_inputs(), session.get_outputs()
    assert inputs.shape[1:] == [4, 64, 64]
    assert outputs.shape[2] == outputs.shape[3]
    samples = rng.integers(1, 255, (4, 64, 64)).astype(np.uint8)
    (probabilities,) = session.run(None, {inputs.name: preprocess_as_deepness(samples)})
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    model = load_segmentor(Config.fromfile(str(small[0])), small[1])
    logits = SegmentorWindows(model).logits([torch.from_numpy(samples).float()])
    expected = torch.from_numpy(logits).softmax(1).numpy()
    assert np.ptp(expected, axis=(2, 3)).max() > 1e-3
    np.testing.assert_allclose(probabilities, expected, rtol=1e-3, atol=1e-6)
    got = postprocess_as_deepness(probabilities, metadata['seg_thresh'])
    assert (got == logits[0].argmax(0)).mean() > 0.999
    assert 'Samples divided by 255' in target.with_suffix('.card.md').read_text()
    # dnas predict would pass unscaled samples, so it refuses the file.
    code, output = run(ROOT / 'tools/predict.py', target, 'scene.tif', '--out-dir', tmp_path)
    assert code == 1
    assert 'was exported for QGIS; export the model without --deepness' in output


def test_metadata_of_included_models_are_exported(tmp_path, monkeypatch):
    sizes = []

    def write(model, path, window, metres):
        sizes.append(metres)
        path.touch()

    monkeypatch.setattr('dnas_mmseg.mapping.onnx_model.export_deepness', write)
    words = ['naip_small', str(tmp_path / 'n.onnx'), '--window', '64', '--deepness']
    for options in ([], ['--licence', 'CC0', '--metres', '2']):
        monkeypatch.setattr('sys.argv', ['dnas export', *words, *options])
        export.main()
        card = (tmp_path / 'n.card.md').read_text()
        assert 'NAIP aerial imagery' in card
        assert '| mIoU on the test tiles |' in card
        assert f'(uint8), pixels of {sizes[-1]:g} m, windows of 64 x 64' in card
        licence = card.split('## Licence')[1].split('##')[0].strip()
        assert licence.startswith('CC0' if options else 'Weights: Apache-2.0')
    assert sizes == [0.6, 2.0]
    monkeypatch.setattr('sys.argv', ['dnas export', *words, '--window', '0'])
    with pytest.raises(SystemExit, match='error: --window 0: must be at least 1'):
        export.main()


def test_deepness_does_not_support_models_of_scaled_samples(small, tmp_path, monkeypatch):
    checkpoint = torch.load(small[1], weights_only=True)
    checkpoint['meta']['dataset_meta']['apply_scale'] = True
    torch.save(checkpoint, tmp_path / 'scaled.pth')
    words = [small[0], tmp_path / 'scaled.pth', tmp_path / 'm.onnx', '--window', 32, '--deepness']
    monkeypatch.setattr('sys.argv', ['dnas export', *map(str, words)])
    with pytest.raises(SystemExit, match='--deepness: the plugin applies no scale and offset'):
        export.main()
    assert not (tmp_path / 'm.onnx').exists()


@pytest.mark.long
@pytest.mark.parametrize('kind', UNETS | OTHERS)
def test_deepness_exports_agree_at_odd_sizes(kind, tmp_path, rng):
    import onnxruntime

    model = load_untrained(kind, tmp_path)
    export_deepness(model, tmp_path / 'qgis.onnx', 97, metres=1)
    session = onnxruntime.InferenceSession(str(tmp_path / 'qgis.onnx'))
    samples = rng.integers(1, 255, (4, 97, 97)).astype(np.uint8)
    (probabilities,) = session.run(None, {'samples': preprocess_as_deepness(samples)})
    logits = SegmentorWindows(model).logits([torch.from_numpy(samples)])
    expected = torch.from_numpy(logits).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, expected, rtol=1e-3, atol=1e-6)
    assert_same_classes(np.log(probabilities), np.log(expected))


OLD_RUNTIME = """
import sys, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
samples = np.load(sys.argv[2])
np.save(sys.argv[3], session.run(None, {session.get_inputs()[0].name: samples})[0])
print(onnxruntime.__version__)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.version_info >= (3, 13), reason='onnxruntime 1.17 has no wheel for it')
def test_deepness_exports_run_in_the_onnxruntime_of_the_plugin(small, tmp_path, rng):
    """Deepness pins onnxruntime <= 1.17, which requires numpy 1 and thus another environment."""
    import onnxruntime

    target, home = tmp_path / 'qgis.onnx', tmp_path / 'venv'
    code, output = run(ROOT / 'tools/export.py', *small, target, '--window', 64, '--deepness')
    assert code == 0, output
    venv.create(home, with_pip=True)
    subprocess.run(
        [home / 'bin/pip', 'install', '-q', 'onnxruntime==1.17.0', 'numpy<2'], check=True
    )
    samples = preprocess_as_deepness(rng.integers(1, 255, (4, 64, 64)).astype(np.uint8))
    np.save(tmp_path / 'in.npy', samples)
    finished = subprocess.run(
        [home / 'bin/python', '-c', OLD_RUNTIME, target, tmp_path / 'in.npy', tmp_path / 'out.npy'],
        capture_output=True, text=True,
    )  # fmt: skip
    assert finished.stdout.strip() == '1.17.0', finished.stderr
    session = onnxruntime.InferenceSession(str(target))
    (expected,) = session.run(None, {session.get_inputs()[0].name: samples})
    np.testing.assert_allclose(np.load(tmp_path / 'out.npy'), expected, rtol=1e-4, atol=1e-6)


def test_model_card_and_stac_item_are_written(small, tmp_path, data_root):
    (tmp_path / 'scores.json').write_text('{"mIoU": 71.5, "OA": 85, "IoU.water": null}')
    command = (
        ROOT / 'tools/export.py', *small, tmp_path / 'm.onnx', '--window', 96, '--data-root',
        data_root, '--licence', 'CC BY 4.0', '--scores',
    )  # fmt: skip
    code, output = run(*command, tmp_path / 'scores.json')
    assert code == 0, output
    assert 'the training tiles have 64 pixels: scenes smaller than the window are padded' in output
    card = (tmp_path / 'm.card.md').read_text()
    lines = (data_root / 'train.txt').read_text().count('\n')
    expected = f'{lines} tiles of 64 x 64 pixels'
    network = 'DNAS (small) with DNASHead: semantic segmentation'
    for line in ('| mIoU | 71.50 |', 'CC BY 4.0', expected, '(uint8)', network):
        assert line in card
    assert 'IoU.water' not in card  # the class does not occur in the test tiles
    code, shown = run(ROOT / 'tools/models.py', tmp_path / 'm.onnx')
    assert shown.startswith(card)
    code, output = run(*command, small[0])
    assert code == 1
    assert 'is not a test_scores.json' in output
    pystac = pytest.importorskip('pystac', reason="the extra 'stac' is not installed")
    from pystac.extensions.mlm import MLMExtension

    item = pystac.Item.from_file(str(tmp_path / 'm.stac.json'))
    pystac.validation.validate_dict({**item.to_dict(), 'stac_extensions': []})
    metadata = MLMExtension.ext(item)
    assert metadata.input[0].input.shape == [-1, 4, 96, 96]
    assert metadata.input[0].bands == list(BANDS)
    assert [c.title for c in metadata.output[0].classes] == list(CLASSES)
    assert metadata.framework == 'ONNX'


def test_without_pystac_the_export_ends_with_a_note(
    small, tmp_path, data_root, monkeypatch, capsys
):
    def missing(package, extra):
        raise UserError(f"{package} is not installed: pip install 'dnas_mmseg[{extra}]'")

    monkeypatch.setattr('dnas_mmseg.mapping.stac.require', missing)
    words = [*small, tmp_path / 'm.onnx', '--window', 64, '--data-root', data_root]
    monkeypatch.setattr('sys.argv', ['dnas export', *map(str, words)])
    export.main()
    printed = capsys.readouterr().out
    assert 'note: no STAC item: pystac is not installed' in printed
    assert (tmp_path / 'm.card.md').is_file()
