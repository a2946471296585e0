"""Run the command ``dnas`` by ``python -m dnas_mmseg``, or several of it by torchrun."""

from dnas_cli import main

if __name__ == '__main__':
    main()
