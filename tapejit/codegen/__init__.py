"""Floor 6: prints programs of loop nests for a target; never decides."""
