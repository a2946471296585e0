"""Predict georeferenced class maps of scenes of any size, as Cloud-Optimised GeoTIFFs.

    dnas predict naip_small scene.tif --out-dir maps              # a pretrained model
    dnas predict dnas_mmseg::dnas/dnas_l14_gid5.py best.pth scenes/*.tif --out-dir maps
    dnas predict CONFIG CHECKPOINT SCENE --out-dir maps --bands nir,red,green
    dnas predict CONFIG CHECKPOINT scenes/*.tif --out-dir maps --backend openvino
    dnas predict model.onnx scenes/*.tif --out-dir maps           # an exported model
    dnas predict CONFIG CHECKPOINT S2B_MSIL2A_....SAFE --out-dir maps --mask-values 3,8,9,10
    dnas predict CONFIG CHECKPOINT 'scenes/{name}_{band}.tif' --out-dir maps
    dnas predict CONFIG CHECKPOINT --items items.json --cloud-cover 20 --out-dir maps
    dnas predict CONFIG CHECKPOINT scenes/*.tif --out-dir maps --mosaic country.tif --zones d.gpkg
    torchrun --nproc-per-node 4 -m dnas_mmseg predict CONFIG CHECKPOINT scenes/*.tif --out-dir maps

MODEL is a name of `dnas models`, an exported file, or a config and a checkpoint of any mmseg model.
SCENE is a raster, or a scene of several files: a Sentinel-2 SAFE folder or .zip, a Landsat
Collection 2 folder or .tar, a PlanetScope folder, or a pattern with {band}. The bands of such a
scene are stacked in a VRT in the folder scenes below --out-dir. --items reads scenes from STAC
catalogues.
Bands are selected by name if the scene or --bands names them; otherwise the scene must have the
bands of the training tiles in the same order. Windows overlap and are blended; memory does not
depend on the height of a scene. Several processes (torchrun, or --shard on several machines) share
the scenes.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .command_line import (
    ArgumentParser,
    UsageError,
    add_no_network,
    add_overrides,
    forbid_network_if,
    progress_bars,
    user_errors,
)
from .engines import add_engine_options
from .mosaic_options import add_mosaic_options, parse_mosaic
from .scene_options import add_item_options, add_stack_options, find_item_scenes

if TYPE_CHECKING:
    from dnas_mmseg.mapping.dask_cluster import DaskCluster
    from dnas_mmseg.mapping.map_plan import MapPlan
    from dnas_mmseg.raster import InvalidScene, MultiFileScene

    Scenes = list[str | MultiFileScene | InvalidScene]


def parse_args() -> argparse.Namespace:
    usage = '%(prog)s MODEL SCENE [SCENE ...] --out-dir FOLDER [options]'
    parser = ArgumentParser(description=__doc__, usage=usage)
    parser.add_argument(
        'words', nargs='+', metavar='MODEL SCENE', help='model, then scenes in any format of GDAL'
    )
    add_overrides(parser)
    parser.add_argument(
        '--out-dir', type=Path, required=True, help='folder of the maps, named like the scenes'
    )
    parser.add_argument(
        '--bands', nargs='+', metavar='A,B,C',
        help='band names of the scenes in file order; they override the names in the files, or '
        'select the bands of scenes of several files',
    )  # fmt: skip
    parser.add_argument(
        '--nodata', type=float, metavar='VALUE',
        help='nodata in addition to the declared ones, e.g. 0 for black borders without a tag',
    )  # fmt: skip
    add_stack_options(parser)
    add_item_options(parser)
    windows = parser.add_argument_group('windows')
    windows.add_argument('--window', type=int, help='side in pixels (default: 512, or as exported)')
    windows.add_argument('--overlap', type=int, help='pixels (default: a quarter of the window)')
    windows.add_argument('--batch', type=int, default=4, help='windows per batch (default: 4)')
    windows.add_argument('--flips', action='store_true', help='average over four flips')
    products = parser.add_argument_group('further products')
    products.add_argument('--confidence', action='store_true', help='probability of the class, %%')
    products.add_argument(
        '--probabilities', action='store_true', help='probability of every class, %%'
    )
    products.add_argument('--quick-look', action='store_true', help='scene next to its map as PNG')
    products.add_argument('--polygons', action='store_true', help='classes as a GeoPackage')
    products.add_argument(
        '--min-pixels', type=int, default=1, metavar='N',
        help='polygons: merge smaller areas into their largest neighbour',
    )  # fmt: skip
    products.add_argument(
        '--simplify', type=float, default=0, metavar='PIXELS',
        help='polygons: tolerance of simplification (default: 0)',
    )  # fmt: skip
    products.add_argument(
        '--qgis-style', action='store_true', help='class names and colours as .qml'
    )
    products.add_argument('--stac', action='store_true', help='STAC item and collection')
    add_mosaic_options(parser)
    parser.add_argument(
        '--skip-bad-blocks',
        action='store_true',
        help='leave unreadable windows without a class instead of failing',
    )
    parser.add_argument(
        '--resume', action='store_true', help='skip maps of these weights and products that exist'
    )
    parser.add_argument(
        '--shard', metavar='I/N', help='map part I of N of the scenes (default: set by torchrun)'
    )
    parser.add_argument(
        '--dask', metavar='ADDRESS',
        help='map on a Dask cluster: local:4 (processes of this machine), the address of a '
        'scheduler (tcp://host:8786), or its scheduler file',
    )  # fmt: skip
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='print the number of scenes and windows, bytes and hours, and map nothing',
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: cuda if available)')
    add_engine_options(parser)
    add_no_network(parser)
    args = parser.parse_intermixed_args()  # scenes may precede and follow options
    args.bands = split_list(args, args.bands or ()) or None
    args.mask_values = split_list(args, args.mask_values)
    return args


def split_list(args: argparse.Namespace, texts: Iterable[str]) -> list[str]:
    """Split the words of an option at commas, and move scenes that follow them to the scenes."""
    words, scenes = list(texts), []
    # argparse assigns all words of `--bands nir red a.tif` to --bands, including the scene.
    while len(words) > 1 and ',' not in words[-1]:
        if not (any(c in words[-1] for c in './{') or os.path.exists(words[-1])):
            break
        scenes.append(words.pop())
    args.words += reversed(scenes)
    return [word for text in words for word in text.split(',') if word]


@contextmanager
def explain_out_of_memory() -> Iterator[None]:
    """Re-raise out-of-memory errors with the options that reduce memory."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # On CPUs, torch raises a plain RuntimeError.
        if isinstance(error, RuntimeError) and 'memory' not in str(error):
            raise
        first = str(error).partition('\n')[0]
        raise UsageError(f'out of memory ({first}): decrease --batch or --window') from error


def parse_shard(text: str | None) -> tuple[int, int]:
    """Return the part, counted from 1, and the number of parts; by default those of the launcher.

    Raises:
        UsageError: The text does not have the form I/N.
    """
    if text is None:
        return int(os.environ.get('RANK', 0)) + 1, int(os.environ.get('WORLD_SIZE', 1))
    part, _, parts = text.partition('/')
    if not (part.isdigit() and parts.isdigit()):
        raise UsageError(f'--shard {text}: I/N expected, e.g. 1/4')
    return int(part), int(parts)


def print_estimate(plan: MapPlan, model: Any, cluster: DaskCluster | None) -> None:
    """Print the cost of planned maps; the time is measured on random samples."""
    from dnas_mmseg.mapping.map_estimate import estimate_maps, time_windows
    from dnas_mmseg.mapping.scenes import SceneError
    from dnas_mmseg.mapping.shares import divide_jobs
    from dnas_mmseg.runs.durations import duration

    tiling = plan.settings.tiling
    found = estimate_maps(plan.jobs, tiling)
    print(
        f'scenes to map: {found.scenes} of {len(plan.targets)}, {found.gigapixels:.3g} gigapixels '
        f'in {found.windows} windows of {tiling.window} x {tiling.window}'
    )
    print(
        f'to read: {found.stored_bytes / 1e9:.3g} GB of local files, '
        f'{found.sample_bytes / 1e9:.3g} GB of samples'
    )
    if found.windows:
        bands = len(plan.jobs[0].bands.index)
        if cluster is None:
            seconds, workers = time_windows(model, bands, tiling), 1
        else:
            seconds, workers = cluster.time_windows(bands, tiling), cluster.count_workers()
            shares = divide_jobs(plan.jobs, tiling, workers)
            tasks = sum(len(share.blocks) or 1 for share in shares)
            divided = sum(1 for share in shares if share.blocks)
            print(f'tasks: {tasks}; scenes that are divided into blocks of rows: {divided}')
        hours = duration(found.windows * seconds / workers)
        print(
            f'time: about {hours} in the network by {workers} processes, {1000 * seconds:.0f} ms '
            'per window; less for windows without data'
        )
    if plan.failures:
        raise SceneError(plan.failures, len(plan.targets))


def main() -> None:
    args = parse_args()
    with user_errors():
        import torch

        from dnas_mmseg.cpus import keep_freed_memory
        from dnas_mmseg.errors import UserError
        from dnas_mmseg.mapping.dask_cluster import open_cluster
        from dnas_mmseg.mapping.loading import ModelSource, split_model
        from dnas_mmseg.mapping.map_plan import plan_scenes
        from dnas_mmseg.mapping.mosaics import write_mosaic_products
        from dnas_mmseg.mapping.products import MapProducts
        from dnas_mmseg.mapping.scene import Tiling
        from dnas_mmseg.mapping.scenes import SceneError, predict_plan

        forbid_network_if(args)
        config, checkpoint, words = split_model(args.words)
        items = find_item_scenes(args)
        scenes: Scenes = [*words, *items.scenes, *items.invalid]
        if not scenes:
            raise UsageError('SCENE is missing')
        for note in items.notes:
            print(f'note: {note}')
        part, parts = parse_shard(args.shard)
        if args.dask and parts > 1:
            raise UsageError('--dask distributes the scenes itself: omit --shard and torchrun')
        mosaic = parse_mosaic(args, parts)
        if mosaic is not None:
            mosaic.check()
        if torch.cuda.is_available():
            # Processes without a GPU of their own may still use an engine on the CPU.
            torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count())
        keep_freed_memory()
        source = ModelSource(
            checkpoint,
            config,
            args.cfg_options,
            backend=args.backend,
            precision=args.precision,
            device=args.device,
            window=512 if args.window is None else args.window,
        ).resolve()
        model = source.load()
        tiling = Tiling(
            getattr(model, 'window', 512) if args.window is None else args.window,
            args.overlap,
            args.batch,
            args.flips,
            args.precision or 'float32',
        )
        plan = plan_scenes(
            model,
            scenes,
            args.out_dir,
            bands=args.bands,
            nodata=args.nodata,
            resume=args.resume,
            shard=(part, parts),
            tiling=tiling,
            products=MapProducts(
                confidence=args.confidence,
                probabilities=args.probabilities,
                quick_look=args.quick_look,
                polygons=args.polygons,
                min_pixels=args.min_pixels,
                simplify=args.simplify,
                qgis_style=args.qgis_style,
                stac=args.stac,
            ),
            skip_bad_blocks=args.skip_bad_blocks,
            resampling=args.resampling,
            mask_values=args.mask_values,
        )
        if mosaic is not None:
            mosaic.check_maps(plan.targets.values())
        show = 'RANK' not in os.environ or part == 1
        failed: SceneError | None = None
        use_cluster = args.dask and plan.jobs
        if use_cluster:
            print(f'Dask: connecting to {args.dask}', flush=True)
        with (
            explain_out_of_memory(),
            open_cluster(args.dask, source) if use_cluster else nullcontext() as cluster,
            progress_bars(show and not args.dry_run) as track,
        ):
            if cluster is not None:
                print(f'Dask: {cluster.describe()}', flush=True)
            if args.dry_run:
                print_estimate(plan, model, cluster)
                return
            try:
                maps = predict_plan(plan, model, cluster, track)
            except SceneError as error:
                maps, failed = error.notes, error
        count = 0 if failed is None else failed.count
        skipped = len(plan.targets) - len(maps) - count
        summary = f'{len(maps)} maps'
        summary += f'; {count} failed' if count else ''
        summary += f'; {skipped} skipped' if skipped > 0 else ''
        for note in (note for notes in maps.values() for note in notes):
            print(f'note: {note}')
        print(f'{args.out_dir}: {summary}')
        if mosaic is not None:
            # Maps of earlier runs belong to it only if this run accepts them.
            planned = {job.target for job in plan.jobs if not job.outputs.is_mapped}
            finished = [
                path
                for scene, path in plan.targets.items()
                if path in maps
                or (
                    args.resume
                    and scene not in plan.failures
                    and path not in planned
                    and path.is_file()
                )
            ]
            try:
                with progress_bars() as track:
                    notes = write_mosaic_products(mosaic, finished, track) if finished else []
            except UserError as error:
                raise (UserError(f'{failed}\n{error}') if failed else error) from None
            for note in notes:
                print(f'note: {note}')
        if failed is not None:
            raise failed
