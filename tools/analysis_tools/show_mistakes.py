"""Run :mod:`dnas_mmseg.cli.mistakes`; ``--help`` explains it."""

from dnas_mmseg.cli.mistakes import main

if __name__ == '__main__':
    main()
