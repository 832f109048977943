"""One file for each command of `linegate`: its options, and what it runs."""
