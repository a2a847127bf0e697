"""AudioSet, and sets of one's own in its layout: recordings with sound, frames and labels."""
