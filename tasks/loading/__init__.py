"""From records to batches: datasets, samplers, loaders, augmentation, and features that are kept on disk."""
