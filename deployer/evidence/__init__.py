"""Evidence: what a run that changed something or failed leaves behind for those who ask why, later and offline."""

from deployer.evidence.standby import Ended, keeper, kept_in, summarize, witnessed

__all__ = ["Ended", "keeper", "kept_in", "summarize", "witnessed"]
