"""The programs: flags and words around what the other folders do."""
