"""The project as commands see it: its settings, with the sandbox that runs for it.

`up` and `demo` start their sandbox on another port when the usual one is taken, and only their
children are told. Any other command would ask whoever has the usual port: another project's.
"""

from typing import TYPE_CHECKING

from energy_etl.cli.doctor.holders import running_sandbox_url
from energy_etl.settings import Settings
from energy_etl.vendors import project_settings

if TYPE_CHECKING:
    from energy_etl.defs.resources import Etl


def command_settings() -> Settings:
    """Read the settings of the project in the working directory for a command.

    Raises:
        ConfigurationError: a setting is unknown or does not fit.
    """
    return with_running_sandbox(project_settings())


def command_etl() -> "Etl":
    """Return the project in the working directory for a command that works as runs do.

    Raises:
        ConfigurationError: a setting is unknown or does not fit.
    """
    # Imported here: most commands need no Dagster.
    from energy_etl.defs.resources import Etl

    url = _running_url(project_settings())
    return Etl() if url is None else Etl(sandbox_url=url)


def with_running_sandbox(settings: Settings) -> Settings:
    """Return the settings with the address of the sandbox that runs for the project.

    As they are on target live, where an address is set, and where none runs.
    """
    url = _running_url(settings)
    return settings if url is None else project_settings(settings.root, sandbox_url=url)


def _running_url(settings: Settings) -> str | None:
    if settings.target != "sandbox" or "sandbox_url" in settings.model_fields_set:
        return None
    return running_sandbox_url(settings.data_dir / "sandbox")
