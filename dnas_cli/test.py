"""Score a checkpoint, or an exported network, on the config's test tiles.

    dnas test dnas_mmseg::dnas/dnas_l14_gid5.py \\
        work_dirs/dnas_l14_gid5/best_mIoU_epoch_187.pth --data-root data/gid5
    dnas test CONFIG CHECKPOINT --backend openvino --precision bfloat16
    dnas test CONFIG model_int8.xml --backend openvino
    dnas test CONFIG CHECKPOINT --tta --show-dir pictures --out predictions

Scores by class go to the log and, in percent, to test_scores.json in the work dir.
"""

from __future__ import annotations

from .command_line import UsageError, config_parser, parse_run_args, run_config, user_errors
from .engines import add_engine_options


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint of this model, or exported file')
    parser.add_argument(
        '--tta',
        action='store_true',
        help='test-time augmentation: average over each tile and its two flips, at three times the '
        'cost',
    )
    parser.add_argument('--out', metavar='FOLDER', help='write the predictions as PNG of train ids')
    parser.add_argument(
        '--show-dir', metavar='FOLDER', help='draw labels and predictions of all tiles'
    )
    add_engine_options(parser)
    args = parse_run_args(parser)
    with user_errors():
        from mmengine.dist import is_main_process

        from dnas_mmseg.engine.checkpoints import find_checkpoint
        from dnas_mmseg.engine.running import test
        from dnas_mmseg.mapping.loading import default_backend, load_model
        from dnas_mmseg.mapping.testing import get_test_tile_size, score_exported

        backend = args.backend or default_backend(args.checkpoint)
        config = run_config(args)
        if args.out:
            metrics = config.test_evaluator
            for metric in metrics if isinstance(metrics, (list, tuple)) else [metrics]:
                metric['output_dir'] = args.out  # also an argument of mmseg's IoUMetric
        if args.show_dir:
            drawing = dict(type='MultiBandVisualizationHook', interval=1, number=None)
            config.default_hooks = {**(config.get('default_hooks') or {}), 'visualization': drawing}
            config.visualizer = dict(
                type='MultiBandLocalVisualizer',
                vis_backends=[dict(type='LocalVisBackend')],
                save_dir=args.show_dir,
                name='show',
            )
        if backend == 'torch':
            if args.precision not in (None, 'float32'):
                raise UsageError(f'--precision {args.precision} requires --backend openvino')
            if is_main_process():
                print(f'checkpoint: {find_checkpoint(args.checkpoint)}')
            test(config, args.checkpoint, flips=args.tta)
        elif args.tta:
            raise UsageError('--tta requires --backend torch')
        else:
            model = load_model(
                args.checkpoint,
                lambda: config,
                backend=backend,
                precision=args.precision,
                window=get_test_tile_size(config),
            )
            score_exported(config, model)
    if is_main_process():
        for path in (f'{config.work_dir}/test_scores.json', args.out, args.show_dir):
            if path:
                print(path)
