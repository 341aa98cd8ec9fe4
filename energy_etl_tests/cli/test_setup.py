"""What `init` makes of a folder."""

from pathlib import Path

from energy_etl.cli.setup import EXAMPLE_PORTFOLIO, _copy_example
from energy_etl.vendors import project_settings


def test_folder_of_its_own_gets_the_example_that_stands_beside_the_sources(tmp_path: Path) -> None:
    settings = project_settings(tmp_path)
    settings.data_dir.mkdir()
    _copy_example(settings, EXAMPLE_PORTFOLIO)
    assert (settings.portfolio_dir / "sites.csv").exists()
    assert [path.name for path in settings.data_dir.iterdir()] == ["portfolio"]
