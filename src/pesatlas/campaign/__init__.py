"""Facts of a whole campaign that several stages share: files, rules, rounds, splits, caveats."""
