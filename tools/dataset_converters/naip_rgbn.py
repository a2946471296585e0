"""Run :mod:`dnas_mmseg.cli.convert_naip`; ``--help`` explains it."""

from dnas_mmseg.cli.convert_naip import main

if __name__ == '__main__':
    main()
