"""Run :mod:`dnas_cli.models`; ``--help`` explains it."""

from dnas_cli.models import main

if __name__ == '__main__':
    main()
