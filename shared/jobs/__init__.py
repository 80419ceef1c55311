"""Work that takes longer than a request: asked for once, done in parts, watched, stopped and taken up again."""
