"""Pictures of archives: views of frames, color tables, quick looks."""
