"""Energy readings from vendor clouds into DuckDB, figures in Polars, ordered delivery to Wattics.

Where each line of code lives is told in CONTRIBUTING.md.
"""

import os

# Polars' allocator returns freed memory to the system after half a second, and asking for it again
# took about a tenth of the CPU time from readings to days (`make bench`). It reads this once, when
# Polars is imported; what it keeps is bounded by what was in use five seconds before.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:5000,muzzy_decay_ms:5000")
