"""Records: kept on disk, and delivered at least once. The only folder that knows SQLite."""
