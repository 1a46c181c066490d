"""What the display and the results show of texts that rich would take for markup."""

import io

import pytest
from rich.console import Console

from prefect_freight.console import LiveDisplay
from prefect_freight.control.status import Status
from prefect_freight.events import Notice, StepEnded, StepStarted
from prefect_freight.results import print_status

PLACE = "s3://bucket/[/c]/[bold]/:dog:"


def test_a_live_display_shows_markup_as_it_is_and_goes_on() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None)
    with LiveDisplay(console) as display:
        display(StepStarted(f"Checking {PLACE}"))
        display(Notice(f"{PLACE} was left"))
        display(StepEnded(f"Checking {PLACE}"))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"⠋ Checking {PLACE}" in shown
    assert f"! {PLACE} was left\n" in shown
    assert f"✓ Checking {PLACE}\n" in shown


def test_a_result_shows_markup_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(Status(PLACE, (), None))
    assert capsys.readouterr().out == f"Exports at {PLACE}\n"
