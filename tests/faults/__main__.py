"""The fault matrix: `make faults`, or ``python tests/faults [WORD ...]``.

With words, only cases whose section or name holds one of them. Exit status 1
if a case fell.
"""

import os
import sys
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import faults.sections  # noqa: E402, F401, enters the cases
from faults import harness  # noqa: E402


def main(words):
    """Run the cases, print the table."""
    chosen = [
        case
        for case in harness.CASES
        if not words
        or any(word in f"{case.section} {case.name}" for word in words)
    ]
    start = time.monotonic()
    harness.prepare()
    verdicts = Counter()
    try:
        print("| # | section | case | verdict | s |\n|---|---|---|---|---|")
        for number, found in enumerate(harness.run_all(chosen), 1):
            verdicts[found.verdict] += 1
            said = f": {found.said}" if found.said else ""
            print(
                f"| {number} | {found.case.section} | {found.case.name} | "
                f"{found.verdict}{said[:300]} | {found.seconds:.1f} |",
                flush=True,
            )
    finally:
        harness.clean_up()
    words = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.items())
    print(f"\n{len(chosen)} cases: {words}; {time.monotonic() - start:.0f} s")
    return 1 if verdicts["FELL"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
