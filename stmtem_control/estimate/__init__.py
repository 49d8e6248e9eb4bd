"""What a plan or a protocol would come to, from a walk through its own messages."""

from .estimate_plan import estimate_plan
from .result import Acquisition, Estimate, Refusal, SiteEstimate, TimelinePoint

__all__ = [
    "Acquisition",
    "Estimate",
    "Refusal",
    "SiteEstimate",
    "TimelinePoint",
    "estimate_plan",
]
