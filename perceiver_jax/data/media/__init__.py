"""Files of sound and video, of any format that FFmpeg knows, read by PyAV on one clock."""
