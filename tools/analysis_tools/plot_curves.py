"""Run :mod:`dnas_cli.plot_curves`; ``--help`` explains it."""

from dnas_cli.plot_curves import main

if __name__ == '__main__':
    main()
