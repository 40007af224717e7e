"""The card rail: payments at a card gateway, and the reading of its callbacks and settlement reports."""
