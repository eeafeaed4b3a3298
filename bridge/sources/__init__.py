"""One module per upstream call. What they share: the account, the table of outcomes, the events of the bridge's own."""
