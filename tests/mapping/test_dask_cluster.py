"""Prediction on Dask clusters of real processes, with lost workers and schedulers."""

import errno
import json
import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from dnas_mmseg.datasets.gid5 import CLASSES, PALETTE
from dnas_mmseg.engine.checkpoints import find_checkpoint
from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.block_plan import identify_samples
from dnas_mmseg.mapping.loading import ModelSource
from dnas_mmseg.mapping.map_plan import plan_scenes
from dnas_mmseg.mapping.products import MapProducts
from dnas_mmseg.mapping.scene import Tiling
from dnas_mmseg.mapping.scene_jobs import MapSettings
from dnas_mmseg.mapping.scenes import SceneError, predict_scenes
from dnas_mmseg.raster import RasterError, is_network_forbidden, read_raster, write_raster

from ..conftest import ROOT, fork_server

distributed = pytest.importorskip('distributed', reason='the extra dask is not installed')

import dask  # noqa: E402

from dnas_mmseg.mapping.dask_cluster import DaskCluster, open_cluster  # noqa: E402
from dnas_mmseg.mapping.dask_tasks import load_model_once  # noqa: E402

TILING = Tiling(32, 8, batch=2)
PRODUCTS = MapProducts(confidence=True, quick_look=True)


class Stub:
    """Window model that takes time, records its windows, and fails if a file says so.

    Its weights are the text of its checkpoint, by whose length the classes differ.
    """

    num_bands, threshold, normalisation = 2, None, None

    def __init__(self, checkpoint, seconds):
        weights = checkpoint.read_text()
        self.dataset_meta = dict(classes=CLASSES, palette=PALETTE, weights=weights)
        self.folder, self.seconds = checkpoint.parent, seconds
        with (self.folder / 'loads.txt').open('a') as file:
            file.write(f'{os.getpid()}\n')

    def logits(self, images):
        time.sleep(self.seconds)
        values = np.nan_to_num(np.stack([image.numpy().astype(np.float32) for image in images]))
        if (self.folder / 'fail').exists() and (values == 251).any():
            raise RasterError('the disk is full')
        if (values == 253).any():
            raise RuntimeError('kernel size')
        with (self.folder / 'windows.txt').open('a') as file:
            file.write('.' * len(images))
        order = np.arange(len(images), dtype=np.float32)[:, None, None]
        height = np.linspace(0, 1, values.shape[2], dtype=np.float32)[:, None]
        base = values.mean(1) / 100 + order + height + len(self.dataset_meta['weights'])
        return np.stack([np.sin((k + 1) * base) for k in range(len(CLASSES))], 1)

    def count(self):
        path = self.folder / 'windows.txt'
        return len(path.read_text()) if path.exists() else 0


@dataclass(frozen=True)
class StubSource(ModelSource):
    """Source of :class:`Stub`; the folder of its checkpoint has its records."""

    seconds: float = 0.0

    def load(self):
        return Stub(find_checkpoint(self.checkpoint), self.seconds)


@pytest.fixture(scope='module')
def client():
    """Client of two processes, which Dask replaces when they are killed."""
    fork_server()  # before Dask chooses what it imports
    multiprocessing.forkserver.ensure_running()
    with (
        dask.config.set({'distributed.worker.multiprocessing-method': 'forkserver'}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs='CRITICAL'
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def spawned():
    """Let Dask start processes as it does for users."""
    with dask.config.set({'distributed.worker.multiprocessing-method': 'spawn'}):
        yield


@pytest.fixture
def threads():
    """Client of a cluster of threads of this process, in which patches apply."""
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def source(tmp_path):
    (tmp_path / 'model').mkdir()
    (tmp_path / 'model/a.pth').touch()
    return StubSource(str(tmp_path / 'model/a.pth'))


def write_scene(path, rng, height=330, width=100, marked=(), mark=251):
    samples = rng.integers(1, 250, (2, height, width)).astype(np.uint8)
    samples[:, 60:120, 10:90] = 0
    for row in marked:
        samples[:, row, 5] = mark
    write_raster(path, samples, nodata=0)
    return path


def map_scenes(source, scenes, out, cluster=None, **kwargs):
    return predict_scenes(
        source.load(), scenes, out, tiling=TILING, products=PRODUCTS, cluster=cluster, **kwargs
    )


def read_files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


def test_maps_equal_those_of_one_process_to_the_byte(tmp_path, rng, client, source):
    scenes = [write_scene(tmp_path / 'large.tif', rng)]
    scenes += [write_scene(tmp_path / f's{i}.tif', rng, 40, 50) for i in range(3)]
    notes = map_scenes(source, scenes, tmp_path / 'one')
    finished = []
    cluster_notes = map_scenes(
        source, scenes, tmp_path / 'two', DaskCluster(client, source),
        track=lambda label: lambda done, total: finished.append((label, done, total)),
    )  # fmt: skip
    assert read_files(tmp_path / 'one') == read_files(tmp_path / 'two')
    assert len(read_files(tmp_path / 'one')) == 16  # map, sidecar, confidence, quick look
    assert [path.name for path in cluster_notes] == [path.name for path in notes]
    assert list(cluster_notes.values()) == list(notes.values())
    assert not list((tmp_path / 'two').glob('blocks*'))
    label, done, total = finished[-1]
    assert label == '4 scenes'
    assert done == total


def test_the_model_is_loaded_once_per_worker(tmp_path, rng, client, source):
    scenes = [write_scene(tmp_path / f's{i}.tif', rng, 70, 60) for i in range(12)]
    map_scenes(source, scenes, tmp_path / 'out', DaskCluster(client, source))
    loads = (tmp_path / 'model/loads.txt').read_text().split()
    assert len(loads) == len(set(loads)) <= 3  # two workers, and this process


def test_a_worker_killed_in_the_middle_changes_nothing(tmp_path, rng, client, source):
    scene = write_scene(tmp_path / 's.tif', rng)
    map_scenes(source, [scene], tmp_path / 'one')
    slow = StubSource(source.checkpoint, seconds=0.1)
    pids, killed = client.run(os.getpid), []

    def advance(done, total):
        if not killed:
            killed.append(next(iter(pids.values())))
            os.kill(killed[0], signal.SIGKILL)

    map_scenes(
        slow, [scene], tmp_path / 'two', DaskCluster(client, slow), track=lambda label: advance
    )
    assert killed
    assert read_files(tmp_path / 'one') == read_files(tmp_path / 'two')
    client.wait_for_workers(2, timeout=60)  # Dask restarts it


def test_a_bad_scene_does_not_stop_the_others(tmp_path, rng, client, source):
    scenes = [write_scene(tmp_path / f's{i}.tif', rng, 200, 60) for i in range(6)]
    content = scenes[3].read_bytes()
    scenes[3].write_bytes(content[: len(content) // 2])
    with pytest.raises(SceneError, match=r'1 of 6 scenes.*\n.*s3\.tif.*truncated') as error:
        map_scenes(source, scenes, tmp_path / 'out', DaskCluster(client, source))
    assert [path.stem for path in error.value.notes] == ['s0', 's1', 's2', 's4', 's5']
    assert not (tmp_path / 'out/s3.tif').exists()


def test_scenes_that_the_network_does_not_support_do_not_stop_the_others(
    tmp_path, rng, client, source
):
    """Also a scene in blocks."""
    scenes = [write_scene(tmp_path / 'large.tif', rng, marked=[300], mark=253)]
    scenes += [
        write_scene(tmp_path / f's{i}.tif', rng, 70, 60, marked=[2] * (i == 1), mark=253)
        for i in range(3)
    ]
    with pytest.raises(SceneError) as error:
        map_scenes(source, scenes, tmp_path / 'out', DaskCluster(client, source))
    assert [path.stem for path in error.value.notes] == ['s0', 's2']
    for name in ('large', 's1'):
        expected = f'{name}.tif: the network fails on windows of 32 x 32 pixels (RuntimeError: ker'
        assert expected in str(error.value)


@pytest.fixture
def work_dir(tmp_path):
    """Work dir whose last checkpoint is the first of two."""
    folder = tmp_path / 'run'
    folder.mkdir()
    for name in ('a', 'bb'):
        (folder / f'{name}.pth').write_text(name)
    (folder / 'last_checkpoint').write_text('a.pth')
    return folder


def test_a_cluster_maps_by_the_last_checkpoint_of_a_work_dir(tmp_path, rng, threads, work_dir):
    scene = write_scene(tmp_path / 's.tif', rng, 40, 50)
    source = StubSource(str(work_dir))
    cluster = DaskCluster(threads, source)
    first = source.load()
    map_scenes(source, [scene], tmp_path / 'first', cluster)
    (work_dir / 'last_checkpoint').write_text('bb.pth')
    map_scenes(source, [scene], tmp_path / 'second', cluster)
    map_scenes(source, [scene], tmp_path / 'alone')
    one, two, alone = (
        read_raster(tmp_path / name / 's.tif') for name in ('first', 'second', 'alone')
    )
    assert (two == alone).all()
    assert (one != two).any()
    # A model that was loaded before the change is not mixed with the new weights.
    with pytest.raises(SceneError, match=r'bb\.pth has other weights than the model'):
        predict_scenes(first, [scene], tmp_path / 'third', tiling=TILING, cluster=cluster)


def test_resuming_computes_missing_blocks_only(tmp_path, rng, client, source):
    scene = write_scene(tmp_path / 's.tif', rng, marked=[300])
    map_scenes(source, [scene], tmp_path / 'one')
    stub = source.load()
    (tmp_path / 'model/fail').touch()
    cluster = DaskCluster(client, source)
    with pytest.raises(SceneError, match='the disk is full'):
        map_scenes(source, [scene], tmp_path / 'two', cluster)
    assert [path.name for path in (tmp_path / 'two').iterdir()] == ['blocks']
    (tmp_path / 'model/fail').unlink()
    before = stub.count()
    map_scenes(source, [scene], tmp_path / 'two', cluster, resume=True)
    assert stub.count() - before == 8 * 4  # of 14 rows, 7 of the second block and 1 above it
    assert read_files(tmp_path / 'one') == read_files(tmp_path / 'two')


def test_blocks_are_continued_by_fewer_workers(tmp_path, rng, client, threads, source):
    """A scene that one worker would not divide, next to others."""
    scene = write_scene(tmp_path / 's.tif', rng, marked=[300])
    others = [write_scene(tmp_path / f'{i}.tif', rng, 40, 50) for i in range(3)]
    (tmp_path / 'model/fail').touch()
    with pytest.raises(SceneError):
        map_scenes(source, [scene], tmp_path / 'two', DaskCluster(client, source))
    (tmp_path / 'model/fail').unlink()
    stub = source.load()
    map_scenes(source, [scene, *others], tmp_path / 'one')
    before = stub.count()
    map_scenes(
        source, [scene, *others], tmp_path / 'two', DaskCluster(threads, source), resume=True
    )
    assert stub.count() - before == 8 * 4 + 3 * 4
    assert read_files(tmp_path / 'one') == read_files(tmp_path / 'two')


@pytest.mark.parametrize('change', ['scene', 'model', 'checkpoint', 'tiling', 'not resumed'])
def test_blocks_of_other_settings_are_computed_again(tmp_path, rng, client, work_dir, change):
    scene = write_scene(tmp_path / 's.tif', rng, marked=[300])
    source = StubSource(str(work_dir))
    (work_dir / 'fail').touch()
    cluster = DaskCluster(client, source)
    with pytest.raises(SceneError):
        map_scenes(source, [scene], tmp_path / 'two', cluster)
    (work_dir / 'fail').unlink()
    tiling = TILING
    if change == 'scene':
        write_scene(scene, np.random.default_rng(5))
    elif change == 'model':
        cluster = DaskCluster(client, StubSource(source.checkpoint, seconds=0.001))
    elif change == 'checkpoint':
        (work_dir / 'last_checkpoint').write_text('bb.pth')
    elif change == 'tiling':
        tiling = Tiling(32, 16, batch=2)
    stub = source.load()
    predict_scenes(stub, [scene], tmp_path / 'one', tiling=tiling)
    whole, before = stub.count(), stub.count()
    predict_scenes(
        stub, [scene], tmp_path / 'two', tiling=tiling, cluster=cluster,
        resume=change != 'not resumed',
    )  # fmt: skip
    assert stub.count() - before > 0.9 * (whole - before)
    assert (read_raster(tmp_path / 'one/s.tif') == read_raster(tmp_path / 'two/s.tif')).all()


def test_a_folder_of_someone_else_is_left_alone(tmp_path, rng, client, source):
    scene = write_scene(tmp_path / 's.tif', rng)
    (tmp_path / 'out/blocks/s').mkdir(parents=True)
    (tmp_path / 'out/blocks/s/mine.txt').write_text('mine')
    with pytest.raises(SceneError, match='is not a folder of blocks'):
        map_scenes(source, [scene], tmp_path / 'out', DaskCluster(client, source))
    assert (tmp_path / 'out/blocks/s/mine.txt').read_text() == 'mine'


def test_a_full_disk_is_retried(tmp_path, rng, threads, source, monkeypatch):
    from dnas_mmseg.mapping import block_plan

    calls = []

    def write_json(path, document, write=block_plan.write_json):
        calls.append(path)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, 'No space left on device')
        write(path, document)

    scene = write_scene(tmp_path / 's.tif', rng)
    map_scenes(source, [scene], tmp_path / 'one')
    monkeypatch.setattr(block_plan, 'write_json', write_json)
    cluster = DaskCluster(threads, source)
    monkeypatch.setattr(cluster, 'count_workers', lambda: 2)
    map_scenes(source, [scene], tmp_path / 'two', cluster)
    assert len(calls) == 4  # the plan, two blocks, and the block that failed
    assert read_files(tmp_path / 'one') == read_files(tmp_path / 'two')


def test_workers_that_do_not_see_the_folder_are_named(tmp_path, rng, threads, source, monkeypatch):
    scene = write_scene(tmp_path / 's.tif', rng, 40, 50)
    cluster = DaskCluster(threads, source)
    monkeypatch.setattr(threads, 'run', lambda *args, **kwargs: {'tcp://10.0.0.7:4321': False})
    with pytest.raises(UserError, match=r'worker tcp://10.0.0.7:4321 does not see .*out'):
        map_scenes(source, [scene], tmp_path / 'out', cluster)


def start(*words):
    return subprocess.Popen(
        [sys.executable, '-m', *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), *sys.path])},
    )


def test_a_lost_scheduler_leaves_blocks_to_resume_from(tmp_path, rng, client, source):
    scene = write_scene(tmp_path / 's.tif', rng)
    slow = StubSource(source.checkpoint, seconds=0.1)
    file = tmp_path / 'scheduler.json'
    scheduler = start(
        'distributed.cli.dask_scheduler', '--port', '0', '--no-dashboard',
        '--scheduler-file', str(file),
    )  # fmt: skip
    worker = start(
        'distributed.cli.dask_worker', '--scheduler-file', str(file), '--nthreads', '1',
        '--nworkers', '2', '--no-dashboard', '--local-directory', str(tmp_path),
    )  # fmt: skip
    try:
        while not file.exists():
            time.sleep(0.1)
        with open_cluster(str(file), slow) as cluster:
            cluster.client.wait_for_workers(2, timeout=60)

            def advance(done, total):
                if list((tmp_path / 'two/blocks').rglob('notes_*')):
                    scheduler.kill()

            with pytest.raises(SceneError, match='connection to the Dask scheduler is lost'):
                map_scenes(slow, [scene], tmp_path / 'two', cluster, track=lambda _: advance)
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()
    assert list((tmp_path / 'two/blocks/s').glob('notes_*'))
    map_scenes(slow, [scene], tmp_path / 'two', DaskCluster(client, slow), resume=True)
    map_scenes(source, [scene], tmp_path / 'one')
    assert read_files(tmp_path / 'one') == read_files(tmp_path / 'two')


def test_finished_blocks_of_a_lost_worker_are_not_computed_again(tmp_path, rng, client, source):
    """The first block is finished; the worker of both is killed during the second."""
    scene = write_scene(tmp_path / 's.tif', rng)
    slow = StubSource(source.checkpoint, seconds=0.1)
    cluster, killed = DaskCluster(client, slow), []

    def advance(done, total):
        finished = list((tmp_path / 'two/blocks').rglob('notes_*'))
        if finished and not killed:
            killed.append(finished[0].stat().st_mtime_ns)
            for pid in client.run(os.getpid).values():
                os.kill(pid, signal.SIGKILL)
        if killed and finished and (tmp_path / 'two/blocks/s').is_dir():
            times.add(min(path.stat().st_mtime_ns for path in finished if path.exists()))

    times = set()
    map_scenes(slow, [scene], tmp_path / 'two', cluster, track=lambda _: advance)
    assert killed
    assert times <= set(killed)
    map_scenes(source, [scene], tmp_path / 'one')
    assert read_files(tmp_path / 'one') == read_files(tmp_path / 'two')
    client.wait_for_workers(2, timeout=60)


def test_an_interrupted_call_stops_its_tasks(tmp_path, rng, client, source):
    scenes = [write_scene(tmp_path / f's{i}.tif', rng, 70, 60) for i in range(40)]
    slow = StubSource(source.checkpoint, seconds=0.1)
    cluster = DaskCluster(client, slow)
    plan = plan_scenes(slow.load(), scenes, tmp_path / 'out', tiling=TILING)
    outcomes = cluster.run(plan.jobs, plan.settings, resume=False, advance=lambda *_: None)
    next(outcomes)
    outcomes.close()  # as by an interrupt
    time.sleep(2)
    count = slow.load().count()
    time.sleep(1.5)
    assert slow.load().count() == count < 40 * 9


def test_workers_stay_offline(tmp_path, rng, source, spawned, monkeypatch):
    """In other processes, since it cannot be undone."""
    scene = write_scene(tmp_path / 's.tif', rng, 40, 50)
    monkeypatch.setattr('dnas_mmseg.mapping.map_plan.is_network_forbidden', lambda: True)
    with open_cluster('local:1', source) as cluster:
        map_scenes(source, [scene], tmp_path / 'out', cluster)
        assert list(cluster.client.run(is_network_forbidden).values()) == [True]
    assert not is_network_forbidden()


def test_workers_share_the_cores_of_the_machine(source, spawned, monkeypatch):
    monkeypatch.setattr('dnas_mmseg.mapping.dask_cluster.usable_cores', lambda: 6)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    with open_cluster('local:2', source) as cluster:
        cluster.client.run(load_model_once, cluster.model)
        assert set(cluster.client.run(torch.get_num_threads).values()) == {3}


def test_plans_hold_no_signature(tmp_path, rng, source):
    (job,) = plan_scenes(
        source.load(), [write_scene(tmp_path / 's.tif', rng)], tmp_path / 'out'
    ).jobs
    path = '/vsicurl/https://example.com/s.tif?signature=secret'
    signed = replace(job, source=replace(job.source, path=path, nodata=float('nan')))
    settings = MapSettings(TILING, PRODUCTS, None)
    identity = json.dumps(identify_samples(signed, settings, source.describe()))
    assert 'example.com/s.tif' in identity
    assert 'secret' not in identity
    renewed = replace(signed, source=replace(signed.source, path=path.replace('secret', 'other')))
    assert identity == json.dumps(identify_samples(renewed, settings, source.describe()))
    assert 'NaN' not in identity


@pytest.mark.parametrize('content', ['{}', 'xx', '[]'])
def test_a_file_that_is_no_scheduler_file(tmp_path, source, content):
    (tmp_path / 's.json').write_text(content)
    with pytest.raises(UserError, match=r's\.json is not a scheduler file'):
        open_cluster(str(tmp_path / 's.json'), source).__enter__()


@pytest.mark.parametrize(
    ('address', 'message'),
    [
        ('local:x', 'local:N expected'),
        ('local:0', 'local:N expected'),
        ('cluster', 'local:N, the address of a scheduler'),
        ('tcp://127.0.0.1:9', 'no Dask scheduler at tcp://127.0.0.1:9.*dask scheduler'),
    ],
)
def test_wrong_addresses_are_refused(source, monkeypatch, address, message):
    monkeypatch.setattr('dnas_mmseg.mapping.dask_cluster._WAIT', 1.0)
    with pytest.raises(UserError, match=message), open_cluster(address, source):
        pass


def test_a_scheduler_without_workers_is_named(source, monkeypatch):
    monkeypatch.setattr('dnas_mmseg.mapping.dask_cluster._WAIT', 1.0)
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        with pytest.raises(UserError, match='has no workers'), open_cluster(address, source):
            pass
