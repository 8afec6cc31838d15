"""An association that ends for what its peer does not do in time, or in a way that can be read."""

from __future__ import annotations

from typing import Any

# PS3.8, 9.2: waiting for a request, and the timer for it expires; open, and the node aborts.
_ASKS_FOR_NOTHING, _IS_ABORTED = ("Sta2", "Evt18"), ("Sta6", "Evt15")
_UNREADABLE = "Evt19"
_SENT_UNREADABLY = {
    "Sta2": ("no request", "asked for an association in a way that cannot be read"),
    "Sta6": ("no message", "sent a message that cannot be read"),
}


def hear_before_silence(association: Any) -> None:
    """Have no peer count as silent whose bytes wait to be read: where this process was suspended,
    its own timers ran out before it could look. `dul.was_silent` says what was found last: once a
    peer has been told of its end, it may have closed the connection, which then looks readable.
    """
    dul = association.dul
    timer, dul.was_silent = dul._idle_timer, False

    def is_silent() -> bool:
        # Asked twice: its other thread may have read what waited between the first two.
        dul.was_silent = timer.expired and not dul.socket.ready and timer.expired
        return bool(dul.was_silent)

    dul.idle_timer_expired = is_silent


def abort_at_unreadable(association: Any) -> None:
    """Have a message that cannot be decoded end its association as one that breaks the protocol
    does: pynetdicom's thread would die of it, and the peer hear of no end.
    """
    receive = association.dimse.receive_primitive

    def receive_or_abort(primitive: Any) -> None:
        try:
            receive(primitive)
        except Exception:  # noqa: BLE001  whatever the bytes of a peer bring about there
            association.dul.event_queue.put(_UNREADABLE)

    association.dimse.receive_primitive = receive_or_abort


def why_cut_off(event: Any) -> tuple[str, str] | None:
    """What a peer did not do in time, or in a way that can be read, of a transition that ends it
    for that: for the tally, and for the log.
    """
    transition = (event.current_state, event.fsm_event)
    if transition == _ASKS_FOR_NOTHING:
        return "stalled", "asked for no association"
    if transition == _IS_ABORTED and event.assoc.dul.was_silent:
        return "stalled", "sent nothing more and did not release"
    if event.fsm_event == _UNREADABLE and not event.assoc.dul.socket.reader.is_cut_off:
        return _SENT_UNREADABLY.get(event.current_state)
    return None
