"""Run :mod:`dnas_mmseg.cli.models`; ``--help`` explains it."""

from dnas_mmseg.cli.models import main

if __name__ == '__main__':
    main()
