"""`make soak`: kill loops and an interrupted backfill at full size.

make soak
make soak ARGS="--only kills --kills 100 --seed 3"
make soak ARGS="--only backfill --days 30 --streams 10"
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from energy_etl_tests.soak import backfill, kills


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line names; an AssertionError says what was not as it should be."""
    options = _parser().parse_args(arguments)
    for name in options.only:
        began = time.monotonic()
        # It stays where something fails, to be looked into.
        folder = Path(tempfile.mkdtemp(prefix=f"energy-etl-soak-{name}-"))
        print(f"{name} works in {folder}", file=sys.stderr, flush=True)
        if name == "kills":
            lines = kills.run(folder, n_kills=options.kills, seed=options.seed)
        else:
            lines = backfill.run(folder, n_days=options.days, n_streams=options.streams)
        shutil.rmtree(folder)
        print(f"{name}: {(time.monotonic() - began) / 60:.1f} minutes")
        print(*(f"  {line}" for line in lines), sep="\n", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    names = ["kills", "backfill"]
    parser.add_argument("--only", type=lambda text: text.split(","), default=names)
    parser.add_argument("--kills", type=int, default=40, help="kills of fills and sends")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--days", type=int, default=365, help="partitions of the backfill")
    parser.add_argument("--streams", type=int, default=50, help="streams that it feeds")
    return parser


if __name__ == "__main__":
    sys.exit(main())
