"""The words of linegate as frozen types. Standard library and numpy only."""
