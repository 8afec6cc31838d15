"""The step of a destination's own thread: send what is due, and wait after a failure."""

from __future__ import annotations

import time

from lgg_runtime.digests import digest_file
from lgg_runtime.pacs.config import Destination
from lgg_runtime.pacs.log import LOG
from lgg_runtime.pacs.outbox import Delivery, Outbox
from lgg_runtime.pacs.spool import NAME_DIGITS
from lgg_runtime.pacs.tally import Tally
from lgg_runtime.pacs.transport import DeliveryError, Transport


class Sender:
    """Sends the deliveries of one outbox in their order, each until it is taken or given up."""

    def __init__(
        self,
        destination: Destination,
        outbox: Outbox,
        transport: Transport,
        tally: Tally,
    ):
        self._to, self._outbox = destination, outbox
        self._transport, self._tally = transport, tally
        self._is_unrecorded = False
        self._left_alone_until = 0.0  # by the monotonic clock
        self._taken = 0  # how many results the destination took
        self._taken_before: dict[str, int] = {}  # each that waits failed last

    def step(self) -> float | None:
        """Send the next delivery, if one is due and the destination is not left alone, whoever
        asks. Raises ResourceError where the disk is full.
        """
        if (left := self._left_alone_until - time.monotonic()) > 0:
            return left
        # A full disk may have refused the record of how the last delivery ended.
        if self._is_unrecorded:
            self._outbox.recover()
            self._is_unrecorded = False
        delivery = self._outbox.claim()
        if delivery is None:
            return None
        self._is_unrecorded = True
        wait = self._deliver(delivery)
        self._is_unrecorded = False
        self._left_alone_until = time.monotonic() + (wait or 0.0)
        return wait

    def _deliver(self, delivery: Delivery) -> float | None:
        """Send a delivery and record how that ended; returns the seconds until the next step."""
        name, to = delivery.result[:NAME_DIGITS], self._to.name
        try:
            if why := _why_lost(delivery):
                if self._outbox.drop_replaced(delivery):
                    LOG.warning("result %s: %s; a later one takes its place at %s", name, why, to)
                    return 0.0
                if hindrance := self._outbox.have_made_again(delivery):
                    raise DeliveryError(f"{why}, and it is not made again: {hindrance}")
                LOG.warning("result %s: %s; it is made again", name, why)
                return 0.0
            self._transport(delivery.path, delivery.is_unsure)
        except DeliveryError as error:
            failure = error
        except Exception as error:  # noqa: BLE001  recorded with the delivery, which waits
            failure = DeliveryError(type(error).__name__, is_unsure=True)
        else:
            self._outbox.record_sent(delivery)
            self._taken += 1
            self._taken_before.pop(delivery.result, None)
            self._tally.add("deliveries", to, "sent")
            LOG.info("result %s sent to %s", name, to)
            return 0.0
        wait = self._outbox.record_failure(delivery, str(failure), failure.is_unsure)
        self._tally.add("deliveries", to, "failed")
        after = "given up until a retry" if wait is None else f"again in {wait:g} s"
        LOG.warning("result %s to %s: %s; %s", name, to, failure, after)
        # Where another was taken since this one failed last, it fails for a reason of its own.
        taken_before = self._taken_before.pop(delivery.result, self._taken)
        if wait is not None:
            self._taken_before[delivery.result] = self._taken
        return wait if failure.is_passing and taken_before == self._taken else 0.0


def _why_lost(delivery: Delivery) -> str:
    """What the disk did to the file of a result, which may be lost, cut or damaged there; empty
    where it is still what was written.
    """
    try:
        found = digest_file(delivery.path)
    except FileNotFoundError:
        return "its file is gone"
    except OSError as error:
        return f"its file cannot be read ({type(error).__name__})"
    return "" if found == delivery.digest else "its file was cut or damaged"
