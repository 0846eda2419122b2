"""Stage train: from the dataset of one level to a potential that explores and is benchmarked."""
