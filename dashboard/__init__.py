"""The page and the health endpoints: reads snapshots, never the pipeline."""
