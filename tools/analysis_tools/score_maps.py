"""Run :mod:`dnas_cli.score`; ``--help`` explains it."""

from dnas_cli.score import main

if __name__ == '__main__':
    main()
