"""Training steps on shared cores by thread settings of libgomp.

    python -m benchmarks.shared_cores --size 128 --busy 2

Each setting runs in its own process, one after the other, without and with processes that keep the
cores busy.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

SETTINGS = {
    'as torch does': {'GOMP_SPINCOUNT': '300000'},
    'OMP_WAIT_POLICY=PASSIVE': {'OMP_WAIT_POLICY': 'PASSIVE'},
    'GOMP_SPINCOUNT=10000': {'GOMP_SPINCOUNT': '10000'},
    'GOMP_SPINCOUNT=30000, ours': {},
    'one thread': {'OMP_NUM_THREADS': '1'},
}


def step_seconds(config: str, size: int, seconds: float) -> list[float]:
    """Return the seconds of training steps on noise with batch size 4.

    Args:
        config: Path of a config.
        size: Side of the crops, in pixels.
        seconds: Duration of the measurement.
    """
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS

    from dnas_mmseg.engine.configs import load_config
    from dnas_mmseg.models.layers.input_bands import count_input_bands
    from dnas_mmseg.search.time import noise_batch

    init_default_scope('mmseg')
    model = MODELS.build(load_config(config).model).train()
    bands = count_input_bands(model.backbone)
    data = noise_batch(model.data_preprocessor, 4, bands, (size, size), 5)
    times: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(times) < 3:
        began = time.monotonic()
        loss, _ = model.parse_losses(
            model(**model.data_preprocessor(data, training=True), mode='loss')
        )
        loss.backward()
        model.zero_grad(set_to_none=True)
        times.append(time.monotonic() - began)
    return times[1:]  # the first step is a warm-up


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--config', default='configs/dnas/dnas_l12_w16_naip.py')
    parser.add_argument('--size', type=int, default=128, help='side of the crops')
    parser.add_argument('--busy', type=int, default=2, help='number of competing processes')
    parser.add_argument('--seconds', type=float, default=10.0, help='duration of each setting')
    parser.add_argument('--alone', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        print(statistics.mean(step_seconds(args.config, args.size, args.seconds)))
        return
    own = ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'OMP_NUM_THREADS')
    environment = {key: value for key, value in os.environ.items() if key not in own}
    command = [sys.executable, '-W', 'ignore', '-m', 'benchmarks.shared_cores', '--alone']
    command += ['--config', args.config, '--size', str(args.size), '--seconds', str(args.seconds)]
    for busy in (0, args.busy):
        spin = [sys.executable, '-c', 'while True: pass']
        others = [subprocess.Popen(spin, start_new_session=True) for _ in range(busy)]
        try:
            for name, setting in SETTINGS.items():
                done = subprocess.run(
                    command, env={**environment, **setting}, capture_output=True, text=True,
                    check=True,
                )  # fmt: skip
                milliseconds = 1e3 * float(done.stdout.split()[-1])
                print(f'{busy} busy processes, {name}: {milliseconds:.0f} ms a step', flush=True)
        finally:
            for other in others:
                other.kill()


if __name__ == '__main__':
    main()
