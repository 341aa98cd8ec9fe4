"""Wiser through Dagster: consent, versions of what is listed, the tree and what changed in it."""

from typing import cast

import polars as pl

from energy_etl.cli.sandbox_consent import grant_sandbox_consent
from energy_etl.defs.extraction import write_batch
from energy_etl.defs.jobs import COMPUTE_JOB
from energy_etl.defs.partitions import changed_tags
from energy_etl.rest import RawCall
from energy_etl.sandbox.model import id_wiser
from energy_etl.sandbox.wiser import Wiser
from energy_etl.tables import core
from energy_etl.tables.mart import FINDING
from energy_etl.vendors import group_fetches
from energy_etl.vendors.wiser import VENDOR
from energy_etl.vendors.wiser.rows import to_batch
from energy_etl.vendors.wiser.tables import PORTFOLIO_CHANGE, PORTFOLIO_TREE
from energy_etl_tests.defs.project import Project, failure_text, warnings_of
from energy_etl_tests.vendors.extracting import fault

MARTS = (PORTFOLIO_TREE.full_name, PORTFOLIO_CHANGE.full_name, FINDING.full_name)
KITCHEN = id_wiser("room", "rome-b.Kitchen")
FRIDGE, STANDBY = (id_wiser("device", f"rome-b.{name}") for name in ("fridge", "standby"))
DISHWASHER = id_wiser("device", "rome-a.dishwasher")


def test_portfolio_is_followed_through_moves_faults_and_a_rebuild(project: Project) -> None:
    vendor = cast(Wiser, project.sandbox.app.vendors["wiser"])
    refused = project.run("extract_wiser")
    assert not refused.success
    assert "energy-etl wiser authorize" in failure_text(refused)
    grant_sandbox_consent(project.settings)
    assert project.run("extract_wiser").success
    first = project.hashes("wiser")

    assert project.run("extract_wiser").success
    assert project.hashes("wiser") == first

    vendor.change("rooms", KITCHEN, name="Pantry")
    vendor.change("devices", STANDBY, roomId=KITCHEN)
    vendor.remove("devices", FRIDGE)
    vendor.remove("devices", DISHWASHER)
    path = f"{id_wiser('site', 'rome-a')}/devices"
    with fault(project.sandbox, vendor="wiser", kind="status", status=403, path_contains=path):
        result = project.run("extract_wiser")
    assert result.success
    assert "devices" in warnings_of(project, result)

    portfolio = project.etl.portfolio().frames
    with project.warehouse.write() as writer:
        for table in (core.ALIAS, core.SITE):
            writer.replace_all(table, portfolio[table])
    assert project.run(COMPUTE_JOB, changed_tags(project.now.date()), MARTS).success
    tree, changes, findings = (
        project.warehouse.read_table(table) for table in (PORTFOLIO_TREE, PORTFOLIO_CHANGE, FINDING)
    )
    changes = changes.filter(pl.col("change") != "appeared")
    told = changes.select("node_id_wiser", "change", "before", "after").sort("change").rows()
    # The dishwasher's list failed: it may be there or not, so it stays.
    assert told == [
        (STANDBY, "moved", "Trastevere flat", "Trastevere flat > Pantry"),
        (KITCHEN, "renamed", "Kitchen", "Pantry"),
        (FRIDGE, "vanished", "Trastevere flat > Pantry", None),
    ]
    assert FRIDGE not in tree["node_id_wiser"]
    assert DISHWASHER in tree["node_id_wiser"]
    assert set(tree["depth"]) == {0, 1, 2, 3}
    standby = tree.row(by_predicate=pl.col("node_id_wiser") == STANDBY, named=True)
    assert standby["path"] == "Rome > Trastevere flat > Pantry > Standby"
    assert (standby["site_id"], standby["meter_id"]) == ("rome-b", "rome-b.standby")
    assert (standby["zone"], standby["commodity"]) == ("Europe/Rome", "Electricity")
    # This project's portfolio knows one of three sites.
    unmapped = set(findings.filter(kind="unmapped")["place"])
    assert {f"wiser: site {id_wiser('site', site)}" for site in ("rome-a", "dublin-a")} <= unmapped
    assert not [place for place in unmapped if STANDBY in place]
    assert findings.filter(kind="zone_unknown")["place"].to_list() == [
        f"wiser: site {id_wiser('site', 'dublin-a')}"
    ]

    before = project.hashes("wiser")
    with project.warehouse.write() as writer:
        for table in VENDOR.tables:
            writer.replace_all(table, table.empty_frame())
    rows = project.warehouse.read(
        "SELECT * FROM raw.request LEFT JOIN raw.body USING (body_sha256) "
        "WHERE vendor = 'wiser' AND status BETWEEN 200 AND 299"
    )
    calls = [RawCall.from_row(row) for row in rows.iter_rows(named=True)]
    for fetch in group_fetches(calls):
        write_batch(project.etl, VENDOR, to_batch(fetch))
    assert project.hashes("wiser") == before
    versions = project.warehouse.read(
        "SELECT count(*) AS n FROM wiser.device WHERE valid_to_at IS NOT NULL"
    )
    assert versions["n"].item() == 2
