"""Run :mod:`dnas_cli.convert_checkpoint`; ``--help`` explains it."""

from dnas_cli.convert_checkpoint import main

if __name__ == '__main__':
    main()
