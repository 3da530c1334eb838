"""One experiment: a data set, a split, a net, its training, and predictions of what the training never saw."""
