"""The node as a whole: what it opens, in which order its parts start, and how it ends."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from lgg_runtime.errors import ResourceError
from lgg_runtime.lock import lock_output
from lgg_runtime.notice import RESEARCH_ONLY
from lgg_runtime.pacs.config import DAY_SECONDS, MIB, NodeConfig
from lgg_runtime.pacs.intake import Intake
from lgg_runtime.pacs.jobs import Jobs
from lgg_runtime.pacs.leftovers import settle_leftovers
from lgg_runtime.pacs.log import LOG
from lgg_runtime.pacs.loops import Loop
from lgg_runtime.pacs.outbox import Outbox, find_orphans
from lgg_runtime.pacs.preflight import load_model, require_packages
from lgg_runtime.pacs.results import ResultMaker
from lgg_runtime.pacs.retention import Sweeper
from lgg_runtime.pacs.sender import Sender
from lgg_runtime.pacs.spool import DATABASE, Spool, require_records
from lgg_runtime.pacs.state import State
from lgg_runtime.pacs.status import read_status
from lgg_runtime.pacs.tally import Tally
from lgg_runtime.pacs.tls import SOON_DAYS, read_ends, tell_ends
from lgg_runtime.pacs.transport import make_transport
from lgg_runtime.pacs.worker import Worker
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.writers.atomic import make_folder

if TYPE_CHECKING:
    from lgg_runtime.pacs.health import NodeCollector

GRACE_SECONDS = 10.0


class Node:
    """A node's parts. Each loop has a thread of its own, and so has each association."""

    def __init__(
        self,
        config: NodeConfig,
        state: State,
        segmenter: Segmenter,
        is_ending: Callable[[], bool] = lambda: False,
    ):
        """is_ending: as of `settle_leftovers`. Raises UsageError for TLS or password files of no
        use, and as `settle_leftovers`.
        """
        from lgg_runtime.pacs.receiver import Receiver

        self.config, self.state, self.tally = config, state, Tally()
        self.spool = Spool(config.node.spool, state.key)
        jobs = Jobs(state, self.spool)
        jobs.recover()
        settle_leftovers(state, self.spool, is_ending)
        self.intake = Intake(state, self.spool, config.study.quiet_seconds)
        self.receiver = Receiver(config, self.intake, self.spool, self.tally)
        self._ends = read_ends(config)
        self._names = names = [one.name for one in config.destinations]
        make = ResultMaker(segmenter, self.spool).make
        self._worker = Worker(jobs, make, names, self.tally, config.study.attempts)
        self._send_loops = self._make_send_loops()
        self._work_loop = Loop("worker", self._work)
        settle = Loop("completeness", self._settle)
        sweeper = Loop("retention", Sweeper(state, self.spool, config.retention).step)
        self.loops = [settle, self._work_loop, *self._send_loops, sweeper]
        if self._ends:
            self.loops.append(Loop("certificates", self._tell_ends))

    def start(self) -> None:
        for line in find_orphans(self.state, self._names):
            LOG.warning("%s", line)
        self.receiver.start()
        for loop in self.loops:
            loop.start()
        LOG.info("listening on port %d; %s", self.receiver.port, RESEARCH_ONLY)

    def stop(self) -> None:
        """Take no more, let what is at hand end, and leave the rest to the next start."""
        LOG.info("stopping")
        self.receiver.stop(GRACE_SECONDS)
        for loop in self.loops:
            loop.tell_to_stop()
        until = time.monotonic() + GRACE_SECONDS
        for loop in self.loops:
            if not loop.join(max(until - time.monotonic(), 0.0)):
                LOG.warning("%s did not end in time; its work is done again", loop.name)

    def why_ill(self) -> list[str]:
        """What keeps the node from its work, empty where nothing does."""
        reasons = [
            f"{loop.name}: {loop.failure or 'ended'}" for loop in self.loops if not loop.is_well
        ]
        try:
            if self.spool.free_bytes() < self.config.limits.free_disk_mib * MIB:
                reasons.append(f"less than {self.config.limits.free_disk_mib} MiB of disk is free")
            self.state.require_file()
            reasons += find_orphans(self.state, self._names) + tell_ends(self._ends)
        except ResourceError as error:
            reasons.append(str(error))
        return reasons

    def make_collector(self, state: State) -> NodeCollector:
        """Of metrics; state: a connection of their own, for to count all images takes seconds after
        a year, and nothing would be received meanwhile.
        """
        from lgg_runtime.pacs.health import NodeCollector

        status = functools.partial(read_status, state, self.config)
        return NodeCollector(status, self.tally, self.spool.free_bytes, self._ends, self.why_ill)

    def _make_send_loops(self) -> list[Loop]:
        loops = []
        for one in self.config.destinations:
            outbox = Outbox(self.state, self.spool, one)
            outbox.recover()
            transport = make_transport(one, self.config.node.ae_title)
            sender = Sender(one, outbox, transport, self.tally)
            loops.append(Loop(f"sender {one.name}", sender.step))
        return loops

    def _tell_ends(self) -> float:
        for line in tell_ends(self._ends, SOON_DAYS):
            LOG.warning("%s", line)
        return DAY_SECONDS

    def _settle(self) -> float | None:
        wait = self.intake.settle()
        self._work_loop.wake()
        return wait

    def _work(self) -> float | None:
        wait = self._worker.step()
        for loop in self._send_loops if wait is not None else ():
            loop.wake()
        return wait


def _open(config: NodeConfig, stack: contextlib.ExitStack) -> State:
    return stack.enter_context(contextlib.closing(State(config.node.spool / DATABASE)))


@contextlib.contextmanager
def run_node(config: NodeConfig, is_ending: Callable[[], bool] = lambda: False) -> Iterator[Node]:
    """Hold the spool, start a node, and stop it at the end of the context.

    is_ending: whether that end has come already, in which case nothing is started.

    Raises ModelError and ProviderError for the model, OutputConflictError where another node
    holds the spool or its database is gone or another's, ResourceError where it cannot be
    written, UsageError for an address that cannot be used, MissingExtraError.
    """
    require_packages()
    from lgg_runtime.pacs.health import HealthServer

    make_folder(config.node.spool, 0o700)
    with contextlib.ExitStack() as stack:
        stack.enter_context(lock_output(config.node.spool))
        require_records(config.node.spool)
        segmenter = load_model(config.model)
        LOG.info("model %s on %s", segmenter.name, segmenter.provider)
        node = Node(config, _open(config, stack), segmenter, is_ending)
        if config.http.port:
            collector = node.make_collector(_open(config, stack))
            stack.callback(HealthServer(config.http, collector, node.why_ill).stop)
        stack.callback(node.stop)
        if not is_ending():
            node.start()
        yield node
