"""Run :mod:`dnas_cli.predict`; ``--help`` explains it."""

from dnas_cli.predict import main

if __name__ == '__main__':
    main()
