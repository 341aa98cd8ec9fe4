"""`energy-etl` as a person types it, in this process: exit code, stdout, stderr."""

import io
import shutil
import sys
from pathlib import Path

import pytest
import typer.main

from energy_etl.cli import main
from energy_etl_tests.defs.project import REPOSITORY
from energy_etl_tests.documented import program


class Typed:
    """Types commands into a project's folder."""

    def __init__(
        self,
        root: Path,
        sandbox_url: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        monkeypatch.setenv("ENERGY_ETL_ROOT", str(root))
        monkeypatch.setenv("ENERGY_ETL_SANDBOX_URL", sandbox_url)
        # Typer builds all forty commands anew at each call: more time than most of them take.
        monkeypatch.setattr(typer.main, "get_command", lambda _: program())
        # Else a sentence is broken where a narrow screen ends.
        monkeypatch.setenv("COLUMNS", "200")

    def run(self, *arguments: str, answers: str = "") -> tuple[int, str, str]:
        """Return exit code, stdout and stderr; `answers` is what is typed when asked."""
        self._monkeypatch.setattr(sys, "argv", ["energy-etl", *arguments])
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(answers))
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self._capsys.readouterr()
        return int(ended.value.code or 0), out, err


def make_root(root: Path) -> Path:
    """Make a project's folder with the example portfolio and nothing else."""
    shutil.copytree(REPOSITORY / "data" / "portfolio.example", root / "data" / "portfolio.example")
    return root
