"""Run :mod:`dnas_mmseg.cli.plot_curves`; ``--help`` explains it."""

from dnas_mmseg.cli.plot_curves import main

if __name__ == '__main__':
    main()
