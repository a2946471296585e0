"""Show a search as pictures and one HTML page, also while it runs.

    dnas report work_dirs/search
    dnas report work_dirs/search --out-dir /tmp/pictures

The page needs no network: the edges that are open, the operations of every node, how each
probability went, what is decoded, and the alarms.
"""

from __future__ import annotations

from pathlib import Path

from .command_line import ArgumentParser, UsageError, user_errors


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', type=Path, help='of a search, or of one of its stages')
    parser.add_argument('--out-dir', type=Path, help='default: WORK_DIR/report')
    args = parser.parse_args()
    with user_errors():
        from dnas_mmseg.search.halving.plan import is_selection
        from dnas_mmseg.search.report import save_search_report

        if is_selection(args.work_dir):
            raise UsageError(
                f'{args.work_dir} holds a selection, which writes its page itself: '
                f'{args.work_dir}/report.html'
            )
        print(save_search_report(args.work_dir, args.out_dir or args.work_dir / 'report'))
