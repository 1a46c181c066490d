"""Arrays that are out of readers' view while they change: which, since when, and until when."""

import time
from dataclasses import replace

from prefect_freight.control.ledger import begun_at
from prefect_freight.events import Notice, OnEvent
from prefect_freight.model import Job, Plan, Round
from prefect_freight.plan.report import withdrawal_note
from prefect_freight.stores import Store


class View:
    """Watches the rounds of an export, and tells when arrays leave the view and are back."""

    def __init__(self, destination: Store, job: Job, plan: Plan, tell: OnEvent) -> None:
        self._withdrawal, self._tell = plan.withdrawal, tell
        # An earlier attempt may have taken them out of view, days ago.
        if self._withdrawal.arrays and job.resumed:
            began_at = begun_at(destination, job.area, Round.WITHDRAW)
            self._withdrawal = replace(self._withdrawal, began_at=began_at)

    def before(self, round_: Round) -> None:
        """Take note that a round begins."""
        if round_ is Round.WITHDRAW and self._withdrawal.began_at is None:
            self._withdrawal = replace(self._withdrawal, began_at=time.time())

    def after(self, round_: Round) -> None:
        """Take note that all of a round is done."""
        if round_ is Round.ROOT:
            self._withdrawal = replace(self._withdrawal, ended_at=time.time())
        if round_ in (Round.WITHDRAW, Round.ROOT):
            note = withdrawal_note(self._withdrawal, time.time())
            if note:
                self._tell(Notice(note))

    def noted(self, plan: Plan) -> Plan:
        """Return the plan with what became of the view up to now."""
        return replace(plan, withdrawal=self._withdrawal)
