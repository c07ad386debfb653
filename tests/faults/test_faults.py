"""The fault run in a short form (`make faults` is the long one): nothing is lost, nothing takes effect twice."""

import pytest
from chikaya_local.faults.run import Run, problems
from chikaya_local.faults.table import SHORT, Fault

pytestmark = pytest.mark.timeout(300)
COMPLAINTS = 75


@pytest.mark.parametrize("fault", SHORT, ids=lambda fault: fault.name)
async def test_nothing_is_lost_and_nothing_takes_effect_twice(run: Run, fault: Fault) -> None:
    row = await run.row(fault, COMPLAINTS)
    assert row.acknowledged >= COMPLAINTS
    assert not problems(row), problems(row)
    assert row.recovered_s is not None, "it did not recover"
    assert row.set_aside == row.spoiled


async def test_what_came_late_changes_nothing(run: Run) -> None:
    """Outcomes of notices, copies of records and complaints that nobody has a receipt of, after all faults."""
    await run.last_check()
    assert not [problems(row) for row in run.rows if problems(row)]
    assert sum(row.acknowledged for row in run.rows) == len(
        {one.complaint_id for row in run.rows for one in row.journeys}
    )
