"""From raw files to a training-ready store: readers, preprocessing, splits, labels, augmentation."""
