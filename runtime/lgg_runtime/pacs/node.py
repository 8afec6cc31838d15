"""The node as a whole: what it opens, in which order its parts start, and how it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lgg_runtime.extras import import_extra
from lgg_runtime.lock import lock_output
from lgg_runtime.pacs.config import NodeConfig
from lgg_runtime.pacs.intake import Intake
from lgg_runtime.pacs.log import LOG
from lgg_runtime.pacs.loops import Loop
from lgg_runtime.pacs.spool import DATABASE, Spool
from lgg_runtime.pacs.state import State
from lgg_runtime.pacs.tally import Tally
from lgg_runtime.writers.atomic import make_folder

GRACE_SECONDS = 10.0


class Node:
    """A running node. port: where it listens; tally: what happened since the start."""

    def __init__(self, config: NodeConfig, state: State):
        from lgg_runtime.pacs.receive import Receiver

        self.config, self.state, self.tally = config, state, Tally()
        self.spool = Spool(config.node.spool, state.key)
        self.intake = Intake(state, self.spool, config.study.quiet_seconds)
        self.receiver = Receiver(config, self.intake, self.spool, self.tally)
        self.loops = [Loop("completeness", self.intake.settle)]

    @property
    def port(self) -> int:
        return self.receiver.port

    def start(self) -> None:
        self._sweep()
        self.receiver.start()
        for loop in self.loops:
            loop.start()
        LOG.info("listening on port %d", self.port)

    def stop(self) -> None:
        """Take no more, let what is at hand end, and leave the rest to the next start."""
        LOG.info("stopping")
        self.receiver.stop(GRACE_SECONDS)
        for loop in self.loops:
            loop.tell_to_stop()
        for loop in self.loops:
            loop.join(GRACE_SECONDS)

    def _sweep(self) -> None:
        """What was written and not recorded was not acknowledged either: it is sent again."""
        images = [
            self.spool.image(row["study"], row["id"])
            for row in self.state.rows("SELECT id, study FROM instance WHERE present")
        ]
        results = [
            self.spool.result(row["id"])
            for row in self.state.rows("SELECT id FROM result WHERE present")
        ]
        if count := self.spool.sweep(images, results):
            LOG.info("removed %d unfinished files of an earlier run", count)


@contextlib.contextmanager
def run_node(config: NodeConfig) -> Iterator[Node]:
    """Hold the spool, start a node, and stop it at the end of the context.

    Raises OutputConflictError where another node holds the spool, ResourceError where it cannot
    be written, UsageError for an address that cannot be used, MissingExtraError.
    """
    for module in ("pydicom", "pynetdicom"):
        import_extra(module, "node")
    make_folder(config.node.spool)
    with contextlib.ExitStack() as stack:
        stack.enter_context(lock_output(config.node.spool))
        state = State(config.node.spool / DATABASE)
        stack.callback(state.close)
        node = Node(config, state)
        stack.callback(node.stop)
        node.start()
        yield node
