"""Run :mod:`dnas_cli.random_architecture`; ``--help`` explains it."""

from dnas_cli.random_architecture import main

if __name__ == '__main__':
    main()
