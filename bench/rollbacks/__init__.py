"""Going back on a real cluster: broken versions in a row, what was changed or pruned, two runs at once."""
