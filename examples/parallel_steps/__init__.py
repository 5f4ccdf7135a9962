"""Steps side by side: gather, task groups, and a sibling that fails."""
