"""Run the benchmarks and write their tables into docs/performance.md.

    python -m benchmarks --threads 2
    python -m benchmarks --only inference training
    python -m benchmarks --device cuda              # the tables of GPUs, with the device's name

Each in a process of its own, one after another: 20 minutes on two cores. The machine should have
nothing else to do. The page's other text is left as it is.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / 'docs/performance.md'


def replace_table(text: str, name: str, output: str) -> str:
    """Return the page with a benchmark's output between its marks."""
    marks = f'<!-- {name} -->', f'<!-- end of {name} -->'
    pattern = re.compile(rf'(?<={re.escape(marks[0])}\n).*?(?={re.escape(marks[1])})', re.DOTALL)
    if not pattern.search(text):
        sys.exit(f'error: {PAGE.name} has no place for it: {marks[0]} ... {marks[1]}')
    return pattern.sub(lambda _: f'\n{output.strip()}\n\n', text)


def main() -> None:
    names = re.findall(r'<!-- end of (\w+) -->', PAGE.read_text())
    names.remove('devices')
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--only', nargs='+', choices=names, default=names)
    parser.add_argument('--threads', type=int, help="default: torch's")
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    args = parser.parse_args()
    if args.device == 'cuda':
        command = [sys.executable, '-W', 'ignore', '-m', 'benchmarks.devices', '--device', 'cuda']
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        print(output)
        PAGE.write_text(replace_table(PAGE.read_text(), 'devices', output))
        return
    for i, name in enumerate(args.only):
        print(f'{name} ({i + 1} of {len(args.only)}) ...', file=sys.stderr)
        command = [sys.executable, '-W', 'ignore', '-m', f'benchmarks.{name}']
        if args.threads and name != 'hook_overhead':
            command += ['--threads', str(args.threads)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        # The line that says what was measured, and the table; imports may have printed before.
        found = re.search(r'[^\n]+\n\n(\|[^\n]*\n)+', output).group()
        print(found, flush=True)
        PAGE.write_text(replace_table(PAGE.read_text(), name, found))


if __name__ == '__main__':
    main()
