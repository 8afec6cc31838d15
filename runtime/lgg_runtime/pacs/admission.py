"""Who may send: judged by what an association asks for and where it comes from; and why the node is
not let in itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lgg_runtime.errors import printable
from lgg_runtime.pacs.bounds import address_of
from lgg_runtime.pacs.config import NodeConfig, is_loopback
from lgg_runtime.pacs.log import LOG
from lgg_runtime.pacs.tally import Tally


class Rejection(NamedTuple):
    """said: result, source and reason, as PS3.8, 9.3.4 numbers them; why: for the log."""

    said: tuple[int, int, int]
    why: str


TOO_MANY = Rejection((0x02, 0x03, 0x02), "too many associations")
_WRONG_CALLED = Rejection((0x01, 0x01, 0x07), "wrong called AE title")
_UNKNOWN_CALLING = Rejection((0x01, 0x01, 0x03), "unknown calling AE title")
_ELSEWHERE = Rejection(_UNKNOWN_CALLING.said, "no peer but this machine's is allowed")
REJECTIONS = tuple(one.why for one in (TOO_MANY, _WRONG_CALLED, _UNKNOWN_CALLING, _ELSEWHERE))


def judge(association: Any, config: NodeConfig) -> Rejection | None:
    """Why an association that was asked for is not let in; None where it may be."""
    request, allowed = association.requestor.primitive, config.listen.calling_ae_titles
    if request.called_ae_title != config.node.ae_title:
        return _WRONG_CALLED
    if allowed:
        return None if request.calling_ae_title in allowed else _UNKNOWN_CALLING
    return None if is_loopback(association.requestor.address_info.address) else _ELSEWHERE


def reject(association: Any, rejection: Rejection, tally: Tally) -> None:
    """Turn away an association that was asked for, and tell of it."""
    tally.add("rejected_associations", rejection.why)
    request = association.requestor.primitive
    titles = {_WRONG_CALLED: request.called_ae_title, _UNKNOWN_CALLING: request.calling_ae_title}
    why = f"{rejection.why} {printable(titles.get(rejection, ''))}".rstrip()
    LOG.warning("association from %s rejected: %s", address_of(association), why)
    association.acse.send_reject(*rejection.said)
    association.kill()


def why_rejected(association: Any) -> str:
    """Of an association that the node asked for, and that was turned away."""
    request, answer = association.requestor.primitive, association.acceptor.primitive
    source, reason = answer.result_source, answer.diagnostic
    titles = {
        _UNKNOWN_CALLING.said[1:]: f"it does not know the calling title {request.calling_ae_title}",
        _WRONG_CALLED.said[1:]: f"it is not called {request.called_ae_title}",
    }
    why = titles.get((source, reason), f"source {source}, reason {reason}")
    return f"rejects the association: {why}"
