"""Evidence: what a run that changed something or failed leaves behind for those who ask why, later and offline."""

from deployer.evidence.summary import Ended, summarize
from deployer.evidence.witness import keeper, kept_in, witnessed

__all__ = ["Ended", "keeper", "kept_in", "summarize", "witnessed"]
