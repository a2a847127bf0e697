"""Making a set of many files once: over all cores, in parts on disk, resumable at any moment."""
