"""Run :mod:`dnas_cli.demo`; ``--help`` explains it."""

from dnas_cli.demo import main

if __name__ == '__main__':
    main()
