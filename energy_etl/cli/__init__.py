"""The command line `energy-etl`: stdout is what was asked for, stderr is progress and errors.

Exit codes: 0 ok, 1 failed, 2 usage, 3 configuration, 4 authentication, 5 network.
A command is a thin door: what it does lives in the package or, for processes, in its own module
beside this one.
"""

import os
import sys
from typing import Final

from energy_etl.errors import (
    AuthenticationError,
    ConfigurationError,
    EnergyEtlError,
    PermissionDeniedError,
    UnavailableError,
    UsageError,
)

_EXIT_CODES: Final[tuple[tuple[type[EnergyEtlError], int], ...]] = (
    # Before the class that it is a kind of.
    (UsageError, 2),
    (ConfigurationError, 3),
    (AuthenticationError, 4),
    (PermissionDeniedError, 4),
    (UnavailableError, 5),
)
# What shells say of a program that Ctrl-C ended.
_INTERRUPTED: Final = 130


def exit_code(error: EnergyEtlError) -> int:
    """Return the exit code of an error's kind."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), 1)


def main() -> None:
    """Run the command line; each of our errors is one sentence on stderr."""
    # A closed one (`>&-`) is None to Python, and writing to it an error of its own.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    try:
        # Imported here: `energy-etl --help` must not wait for a warehouse library.
        from energy_etl.cli.app import app

        app()
    except KeyboardInterrupt:
        # While it is imported; later the command itself ends with this code.
        sys.exit(_INTERRUPTED)
    except EnergyEtlError as error:
        print(f"energy-etl: {error}", file=sys.stderr)
        sys.exit(exit_code(error))
    except OSError as error:
        # Of our own files only: what goes wrong at a vendor is an error of ours.
        place = error.filename or "a file"
        print(
            f"energy-etl: {place} cannot be used ({error.strerror or error}): check that it "
            "exists, its rights and the free disk space, then run again.",
            file=sys.stderr,
        )
        sys.exit(1)
