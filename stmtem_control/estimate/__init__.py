"""What a plan or a protocol would come to, from a walk through its own messages."""

from .check_protocol import check_protocol
from .estimate_plan import estimate_plan
from .result import Acquisition, Estimate, Refusal, SiteEstimate, TimelinePoint
from .walked_legs import WalkedLegs

__all__ = [
    "Acquisition",
    "Estimate",
    "Refusal",
    "SiteEstimate",
    "TimelinePoint",
    "WalkedLegs",
    "check_protocol",
    "estimate_plan",
]
