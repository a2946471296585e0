"""Run :mod:`dnas_cli.mistakes`; ``--help`` explains it."""

from dnas_cli.mistakes import main

if __name__ == '__main__':
    main()
