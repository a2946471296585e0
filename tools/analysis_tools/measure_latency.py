"""Run :mod:`dnas_cli.measure_latency`; ``--help`` explains it."""

from dnas_cli.measure_latency import main

if __name__ == '__main__':
    main()
