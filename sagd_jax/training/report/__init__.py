"""The report of a run: one page of what its work directory holds."""
