"""Schedules and sensors on and off in the Dagster instance, as a person's click in the UI does it.

It needs no running Dagster: the instance's storage is written, and the daemon looks there each time
it ticks. What was switched on or off by hand counts more than a default of the definitions.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin
from dagster._core.remote_representation.external import RemoteSchedule, RemoteSensor
from dagster._core.remote_representation.external_data import ScheduleSnap, SensorSnap
from dagster._core.remote_representation.handle import RepositoryHandle
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._utils.warnings import disable_dagster_warnings

from energy_etl.defs.jobs import EXTRACTION_PREFIX, SEND_JOB

# The code location as `up`'s workspace names it.
_MODULE = "energy_etl.definitions"


@dataclass(frozen=True)
class Switch:
    """A schedule or a sensor.

    Attributes:
        name: as the UI shows it.
        is_on: whether the daemon ticks it.
        calls_vendors: whether the runs that it asks for call a vendor.
    """

    name: str
    is_on: bool
    calls_vendors: bool


class Switchboard:
    """Every schedule and sensor of a project, and where it stands in an instance."""

    def __init__(
        self, instance: dg.DagsterInstance, definitions: dg.Definitions, home: Path
    ) -> None:
        """Look up what there is to switch.

        Args:
            instance: where it is switched.
            definitions: of the project.
            home: its DAGSTER_HOME.
        """
        self._instance = instance
        self._ticked = _ticked(definitions, home)

    def switches(self) -> tuple[Switch, ...]:
        """Return all, as they stand now, by name."""
        return tuple(map(self._switch, self._ticked))

    def turn(self, names: Iterable[str], *, is_on: bool) -> list[str]:
        """Switch some on or off; return the names of those that were otherwise."""
        wanted, turned, instance = set(names), list[str](), self._instance
        for each in self._ticked:
            if each.name not in wanted or self._switch(each).is_on == is_on:
                continue
            turned.append(each.name)
            origin_id, selector_id = each.get_remote_origin_id(), each.selector_id
            if isinstance(each, RemoteSchedule):
                if is_on:
                    instance.start_schedule(each)
                else:
                    instance.stop_schedule(origin_id, selector_id, each)
            elif is_on:
                instance.start_sensor(each)
            else:
                instance.stop_sensor(origin_id, selector_id, each)
        return turned

    def _switch(self, each: RemoteSchedule | RemoteSensor) -> Switch:
        origin_id, selector_id = each.get_remote_origin_id(), each.selector_id
        stored = self._instance.get_instigator_state(origin_id, selector_id)
        if isinstance(each, RemoteSchedule):
            jobs = [each.job_name]
        else:
            jobs = [target.job_name for target in each.get_targets()]
        return Switch(
            each.name,
            each.get_current_instigator_state(stored).is_running,
            any(job == SEND_JOB or job.startswith(EXTRACTION_PREFIX) for job in jobs),
        )


def _ticked(definitions: dg.Definitions, home: Path) -> list[RemoteSchedule | RemoteSensor]:
    repository = definitions.get_repository_def()
    # As in the workspace that `energy-etl up` writes: Dagster compares all of it in some places.
    target = LoadableTargetOrigin(
        executable_path=None, module_name=_MODULE, working_directory=str(home)
    )
    handle = RepositoryHandle(
        repository_name=repository.name,
        code_location_origin=ManagedGrpcPythonEnvCodeLocationOrigin(target, _MODULE),
        repository_python_origin=None,
        display_metadata={},
    )
    # It reads a property of its own that it has deprecated.
    with disable_dagster_warnings():
        found = [
            *(
                RemoteSchedule(ScheduleSnap.from_def(each, repository), handle)
                for each in repository.schedule_defs
            ),
            *(
                RemoteSensor(SensorSnap.from_def(each, repository), handle)
                for each in repository.sensor_defs
            ),
        ]
    return sorted(found, key=lambda each: each.name)
