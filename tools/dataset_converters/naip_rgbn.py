"""Run :mod:`dnas_cli.convert_naip`; ``--help`` explains it."""

from dnas_cli.convert_naip import main

if __name__ == '__main__':
    main()
