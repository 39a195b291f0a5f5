"""Evidence: what a run that changed something or failed leaves behind for those who ask why, later and offline."""

from deployer.evidence.summary import Ended, summarize
from deployer.evidence.witness import Witness, folder_of

__all__ = ["Ended", "Witness", "folder_of", "summarize"]
