"""Run :mod:`dnas_cli.browse`; ``--help`` explains it."""

from dnas_cli.browse import main

if __name__ == '__main__':
    main()
