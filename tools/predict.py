"""Run :mod:`dnas_mmseg.cli.predict`; ``--help`` explains it."""

from dnas_mmseg.cli.predict import main

if __name__ == '__main__':
    main()
