"""Run the speed benchmarks and update their tables in benchmarks/speed*.md and the manual.

    python -m benchmarks --threads 2
    python -m benchmarks --only inference training
    python -m benchmarks --device cuda              # the tables of GPUs, with the device name

Benchmarks run sequentially in separate processes: 20 minutes on two cores of an idle machine. Only
the tables between the markers change.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PAGES = (*FOLDER.glob('speed*.md'), *FOLDER.parent.glob('docs/performance*.md'))


def write_table(name: str, output: str) -> None:
    """Write a benchmark's output between its markers, on the page that contains them."""
    first, last = f'<!-- {name} -->', f'<!-- end of {name} -->'
    pattern = re.compile(rf'(?<={re.escape(first)}\n).*?(?={re.escape(last)})', re.DOTALL)
    for page in PAGES:
        text = page.read_text(encoding='utf-8')
        if pattern.search(text):
            page.write_text(
                pattern.sub(lambda _: f'\n{output.strip()}\n\n', text), encoding='utf-8'
            )
            return
    sys.exit(f'error: no page contains the markers {first} ... {last}')


def main() -> None:
    texts = ''.join(page.read_text(encoding='utf-8') for page in PAGES)
    names = re.findall(r'<!-- end of (\w+) -->', texts)
    names.remove('devices')
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--only', nargs='+', choices=names, default=names, help='benchmarks to run (default: all)'
    )
    parser.add_argument('--threads', type=int, help="number of threads (default: torch's)")
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    args = parser.parse_args()
    if args.device == 'cuda':
        command = [sys.executable, '-W', 'ignore', '-m', 'benchmarks.devices', '--device', 'cuda']
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        print(output)
        write_table('devices', output)
        return
    for i, name in enumerate(args.only):
        print(f'{name} ({i + 1} of {len(args.only)}) ...', file=sys.stderr)
        command = [sys.executable, '-W', 'ignore', '-m', f'benchmarks.{name}']
        if args.threads and name != 'hook_overhead':
            command += ['--threads', str(args.threads)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        # The line with the conditions, and the table; imports may have printed before.
        found = re.search(r'[^\n]+\n\n(\|[^\n]*\n)+', output).group()
        print(found, flush=True)
        write_table(name, found)


if __name__ == '__main__':
    main()
