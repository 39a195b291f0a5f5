"""Evidence: what a run that changed something or failed leaves behind for those who ask why, later and offline."""

from deployer.evidence.recording import Ended, note_verdict, recorded, recording_in, summarize, text_writer

__all__ = ["Ended", "note_verdict", "recorded", "recording_in", "summarize", "text_writer"]
