"""Run :mod:`dnas_cli.compare`; ``--help`` explains it."""

from dnas_cli.compare import main

if __name__ == '__main__':
    main()
