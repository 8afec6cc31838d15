"""The node's receiving half: an SCP with its intake, whose quiet time is over when a test asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lgg_runtime.pacs.config import load_config
from lgg_runtime.pacs.intake import Intake
from lgg_runtime.pacs.receiver import Receiver
from lgg_runtime.pacs.spool import Spool
from lgg_runtime.pacs.state import State
from lgg_runtime.pacs.tally import Tally
from stand_ins.pacs import await_associations, write_config


class Reception:
    """Listens from the start; sections: settings that replace those of the tests."""

    def __init__(self, folder: Path, **sections: Any):
        config = load_config(write_config(folder, **sections))
        self.state = State(folder / "state.sqlite")
        self.spool = Spool(folder, self.state.key)
        self.intake = Intake(self.state, self.spool, quiet_seconds=0.0)
        self.tally = Tally()
        self.receiver = Receiver(config, self.intake, self.spool, self.tally)
        self.receiver.start()
        self.port = self.receiver.port

    def settle(self) -> list[str]:
        """The studies' states, once every association has ended."""
        await_associations()
        self.intake.settle()
        return [row["state"] for row in self.state.rows("SELECT state FROM study")]

    def count(self, what: str) -> int:
        return int(self.state.rows(f"SELECT count(*) FROM instance WHERE {what}")[0][0])

    def stop(self) -> None:
        self.receiver.stop(0.0)
        self.state.close()
