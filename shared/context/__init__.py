"""What a handler is given: its context, which collects reads and writes into one commit, and the saga deadlines."""
