"""The double-entry ledger: posts transfers and answers for entries, transfers and the trial balance."""
