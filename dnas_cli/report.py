"""Write the report of a finished or running search, as figures and one HTML page.

    dnas report work_dirs/search
    dnas report work_dirs/search --out-dir /tmp/pictures

The self-contained page shows the open edges, the operations of every node, the course of all
probabilities, the decoded architecture and the warnings.
"""

from __future__ import annotations

from pathlib import Path

from .command_line import ArgumentParser, UsageError, user_errors


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', type=Path, help='work dir of a search, or of one of its stages')
    parser.add_argument('--out-dir', type=Path, help='output folder (default: WORK_DIR/report)')
    args = parser.parse_args()
    with user_errors():
        from dnas_mmseg.search.report import save_search_report
        from dnas_mmseg.selection.plan import is_selection

        if is_selection(args.work_dir):
            raise UsageError(
                f'{args.work_dir} is the work dir of a selection; its report is '
                f'{args.work_dir}/report.html'
            )
        print(save_search_report(args.work_dir, args.out_dir or args.work_dir / 'report'))
